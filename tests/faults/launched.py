"""Processes that train as one, begun by a launcher, and the launcher: to be killed one by one, and started again."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from process_ends import children, lives, until
from senet.results.run_folder import RunFolder

ENDS_IN = 120.0
"""Seconds until all have ended: ten until one gives up its wait, and what a busy machine needs."""

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
SENET = ("-m", "senet", "train")
"""Words after Python's name that start a run's processes: torch's launcher, and what it starts, or the command that is a launcher."""


class Launched:
    """A launcher, its processes and their workers.

    Args:
        root: folder in which they work; what they say goes to the file `told` in it, which a second launcher continues.
        words: of Python.
        run: the run's folder below `root`.
        variables: of the environment, beside this process's.
        prefix: words before Python's name.
        told: name of the file, for several launchers in one folder.
    """

    def __init__(
        self,
        root: Path,
        words: Sequence[str],
        run: str = "run",
        variables: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        told: str = "told",
    ) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"} | dict(variables or {})
        self.path, self.run = root / told, RunFolder(root / run)
        self._seen: set[int] = set()
        with self.path.open("a") as file:
            command = [*prefix, sys.executable, *words]
            self.process = subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.DEVNULL, stderr=file)

    @property
    def ranks(self) -> list[int]:
        """Process numbers of those that train, by their rank here."""
        return children(self.process.pid)

    def all(self) -> list[int]:
        """Return the process numbers of those that train, and of their workers."""
        found = [pid for rank in self.ranks for pid in (rank, *children(rank))]
        self._seen.update(found)
        return found

    def told(self) -> str:
        """Return what they have written on stderr."""
        return self.path.read_text()

    def lines(self) -> list[str]:
        """Return the lines in which this package has said something, in their order."""
        return [line for line in self.told().splitlines() if line.startswith(("senet ", "process ", "processes "))]

    def until_saved(self, epoch: int = 0) -> None:
        """Wait until so many epochs are over, and something was saved in the next."""
        until(lambda: self._has_saved(epoch) or self.process.poll() is not None, ENDS_IN)
        assert self._has_saved(epoch), self.told()

    def _has_saved(self, epoch: int) -> bool:
        if not self.run.has_checkpoint() or len(self.run.metrics()) < epoch:
            return False
        saved = self.run.checkpoint
        return not epoch or (saved.exists() and saved.stat().st_mtime_ns > (self.run.path / "metrics.csv").stat().st_mtime_ns)

    def kill(self, rank: int) -> int:
        """Kill one of those that train; return its process number."""
        pid = self.ranks[rank]
        os.kill(pid, signal.SIGKILL)
        return pid

    def ended(self, seconds: float = ENDS_IN) -> int:
        """Wait for the launcher's end; return its exit code."""
        return self.process.wait(seconds)

    def clear(self) -> None:
        """Kill all that are left of those that `all` has named, and now."""
        self.all()
        for pid in (self.process.pid, *self._seen):
            if lives(pid):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
