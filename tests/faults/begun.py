"""A training run in a process of its own, forked so that it begins at once, to be hurt."""

import multiprocessing
import os
import signal
import sys
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from faults.forked import code_of, fork, take_stderr
from process_ends import until
from senet.cli import main
from senet.recipe import build_recipe
from senet.results.run_folder import RunFolder
from senet.training import loop as loop  # imported once, before the fork

SOURCE = Path(__file__).with_name("stuck_source.py")


@dataclass(frozen=True)
class Begun:
    """Run under way, and the folder of its images, where a file called "stuck" stops the reading."""

    process: BaseProcess
    root: Path

    @property
    def run(self) -> RunFolder:
        return RunFolder(self.root / "run")

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    def told(self) -> str:
        """Return what the process has written."""
        return (self.root / "told").read_text()

    def stick(self) -> None:
        """Let the reading of images stop, and wait until it has."""
        (self.root / "stuck").touch()
        until((self.root / "reading").exists)

    def send(self, signum: int) -> None:
        os.kill(self.pid, signum)

    def ended(self) -> int:
        """Wait for the end; return the exit code, which is negative for a signal."""
        return code_of(self.process)


def begin(root: Path, *, workers: int, epochs: int = 10_000) -> Begun:
    """Begin a run, and wait until it has taken some steps."""
    write_recipe(root, workers=workers, epochs=epochs)
    (root / "told").touch()
    begun = Begun(fork(lambda: train(root, "--quiet"), root / "told"), root)
    until(lambda: begun.run.checkpoint.exists() or not begun.process.is_alive())
    assert begun.process.is_alive(), begun.told()
    return begun


def write_recipe(root: Path, *, workers: int, epochs: int = 10_000) -> None:
    """Write the recipe of a run that saves after every step."""
    tree = {
        "name": "hurt",
        "model": {"name": "cifar_resnet20", "block": "se"},
        "data": {"name": f"{SOURCE}:open_source", "root": str(root), "batch_size": 8, "workers": workers},
        "training": {"epochs": epochs, "save_steps": 1},
    }
    (root / "hurt.yaml").write_text(build_recipe(tree).to_yaml())


def train(root: Path, *words: str) -> int:
    """Train in a forked process, with streams and signals as a process of its own has them; return the exit code."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # one in the background ignores it
    take_stderr()
    sys.stdout = sys.__stderr__ = sys.stderr
    options = ("--folder", str(root / "run"), "--allow-code", str(SOURCE))
    code = main.main(["train", str(root / "hurt.yaml"), *options, *words])
    for process in multiprocessing.active_children():
        process.join(5)
    return code
