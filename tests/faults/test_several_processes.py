"""Two processes that train as one: whoever of them, or of what started them, is killed or waits for ever, all end, and nobody stays."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.begun import SOURCE, write_recipe
from process_ends import assert_all_end, children, lives, until
from senet.results.run_folder import RunFolder
from senet.training.checkpoint import read_checkpoint

pytestmark = pytest.mark.slow

ENDS_IN = 120.0
"""Seconds until all have ended: ten until one gives up its wait, and what a busy machine needs."""


class Launched:
    """A launcher, its two processes and their workers."""

    def __init__(self, root: Path, *words: str) -> None:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "senet.cli.main", "train"]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        self.told = root / "told"
        options = ("--allow-code", str(SOURCE))
        with self.told.open("w") as told:
            self.process = subprocess.Popen([*command, *words, *options], cwd=root, env=environment, stdout=subprocess.DEVNULL, stderr=told)

    @property
    def ranks(self) -> list[int]:
        return children(self.process.pid)

    def all(self) -> list[int]:
        return [pid for rank in self.ranks for pid in (rank, *children(rank))]

    def ended(self) -> int:
        return self.process.wait(ENDS_IN)


@pytest.fixture
def launched(tmp_path: Path) -> Iterator[Launched]:
    """Return two processes with a worker each, which have taken some steps."""
    write_recipe(tmp_path, workers=1)
    launched = Launched(tmp_path, "hurt.yaml", "--folder", "run")
    run = RunFolder(tmp_path / "run")
    until(lambda: run.has_checkpoint() or launched.process.poll() is not None, ENDS_IN)
    assert run.has_checkpoint(), launched.told.read_text()
    pids = launched.all()
    assert len(pids) == 4
    yield launched
    for pid in (launched.process.pid, *pids):
        if lives(pid):
            os.kill(pid, signal.SIGKILL)
    launched.process.wait()


def test_all_end_when_one_is_killed(launched: Launched) -> None:
    pids = launched.all()
    os.kill(launched.ranks[1], signal.SIGKILL)
    assert launched.ended() != 0
    assert_all_end(pids, ENDS_IN)


def test_all_end_saved_when_their_launcher_is_killed(launched: Launched, tmp_path: Path) -> None:
    pids = launched.all()
    launched.process.kill()
    assert_all_end(pids, ENDS_IN)
    assert "interrupted by SIGTERM; go on with" in launched.told.read_text()


def test_all_end_when_they_wait_for_images_for_ever(launched: Launched, tmp_path: Path) -> None:
    pids = launched.all()
    (tmp_path / "stuck").touch()
    until((tmp_path / "reading").exists)
    launched.process.send_signal(signal.SIGTERM)
    assert launched.ended() != 0
    assert_all_end(pids, ENDS_IN)
    assert read_checkpoint(RunFolder(tmp_path / "run").checkpoint)["epoch"] >= 0


def test_a_run_of_two_processes_is_not_gone_on_with_by_one(launched: Launched, tmp_path: Path) -> None:
    launched.process.send_signal(signal.SIGTERM)
    launched.ended()
    command = [sys.executable, "-m", "senet.cli.main", "train", "--resume", "run", "--allow-code", str(SOURCE)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2
    assert "processes" in done.stderr
    assert "Traceback" not in done.stderr
