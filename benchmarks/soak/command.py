"""`senet train` as users start it, with all its processes, to be hurt and started anew."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from senet.data.digits import open_source
from senet.recipe import DataRecipe, build_recipe
from senet.results.run_folder import RunFolder

LOOK = 0.02
"""Seconds between two looks at a process."""

PATIENCE = 120.0
"""Seconds after which a command that should have ended, or begun, is taken for stuck."""


def write_images(root: Path, count: int = 240) -> None:
    """Write digits as class folders of PNG files, of which a third is for validation."""
    source = open_source(DataRecipe(name="digits"))
    for split, images in (("train", source.train), ("val", source.val)):
        for index in range(count if split == "train" else count // 2):
            folder = root / split / str(int(images.targets[index]))
            folder.mkdir(parents=True, exist_ok=True)
            images.read(index).save(folder / f"{index:04}.png")


def write_recipe(path: Path, root: Path, *, epochs: int) -> Path:
    """Write the recipe of a small network that saves every few steps and whose images are loaded by a process."""
    mean, std = [0.305] * 3, [0.376] * 3
    data = {"name": "folder", "root": str(root), "batch_size": 16, "workers": 1, "max_corrupt": 0.0}
    tree = {
        "name": "soak",
        "model": {"name": "cifar_resnet20", "block": "se"},
        "data": {**data, "image_size": 8, "eval_resize": 8, "crop": "pad", "pad": 1, "mean": mean, "std": std},
        "training": {"epochs": epochs, "save_steps": 4},
    }
    path.write_text(build_recipe(tree).to_yaml(), encoding="utf-8")
    return path


def processes_below(pid: int) -> list[int]:
    """Return the processes that a process has made, and those that these have made."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *processes_below(child)]
    return found


def lives(pid: int) -> bool:
    """Return whether a process runs, or could."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def happens(true: Callable[[], object], seconds: float = PATIENCE) -> bool:
    """Wait until something is true; return whether it is, after so many seconds at most."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK)
    return True


@dataclass
class Training:
    """One start of the command.

    Args:
        recipe: file of the recipe.
        run: folder of the run, which is begun or gone on with.
        ranks: processes that train together.
    """

    recipe: Path
    run: RunFolder
    ranks: int

    def __post_init__(self) -> None:
        words = ["train", str(self.recipe), "--folder", str(self.run.path), "--or-resume", "--quiet"]
        words += ["--devices", str(self.ranks), "--max-restarts", "0"] if self.ranks > 1 else []  # it is started anew from here
        self.log = self.run.path.with_name(f"{self.run.path.name}.log")
        self.begun, self._before = time.monotonic(), self._saved()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "senet", *words], stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"}
            )
        self.family = {self.process.pid}

    def saves(self) -> bool:
        """Wait until it has saved anew, or ended; return whether it has not got stuck."""
        return happens(lambda: self._saved() != self._before or self.process.poll() is not None)

    def look(self) -> list[int]:
        """Return the processes that it has made, nearest first."""
        below = processes_below(self.process.pid)
        self.family |= set(below)
        return below

    def trainers(self) -> list[int]:
        """Return the processes that train."""
        return [pid for pid in self.look() if _has_rank(pid)] if self.ranks > 1 else [self.process.pid]

    def loaders(self) -> list[int]:
        """Return the processes that load images."""
        trainers = self.trainers()
        return [child for trainer in trainers for child in processes_below(trainer)]

    def end(self) -> int | None:
        """Wait until all its processes have ended; return the exit code, None if they got stuck and were killed."""
        ended = happens(lambda: (self.look() or True) and self.process.poll() is not None)
        ended &= happens(lambda: not any(map(lives, self.family - {self.process.pid})))
        self.kill()
        return self.process.wait() if ended else None

    def kill(self) -> None:
        """End all its processes that still run."""
        for pid in self.family | set(self.look()):
            if pid == self.process.pid and self.process.poll() is not None:
                continue
            if lives(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _saved(self) -> int:
        try:
            return self.run.checkpoint.stat().st_mtime_ns
        except OSError:
            return 0


def _has_rank(pid: int) -> bool:
    """Return whether a process is one of several that a launcher started, and no loader of one."""
    try:
        own = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        above = Path(f"/proc/{parent}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return any(entry.startswith(b"LOCAL_RANK=") for entry in own) and not any(entry.startswith(b"LOCAL_RANK=") for entry in above)
