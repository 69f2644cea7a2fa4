"""Two processes that train as one: whoever of them, or of what started them, is killed or waits for ever, all end, and nobody stays."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.begun import SOURCE, write_recipe
from faults.launched import ENDS_IN, SENET, TORCHRUN, Launched
from process_ends import assert_all_end, until
from senet.training.checkpoint import read_checkpoint

pytestmark = pytest.mark.slow


@pytest.fixture
def launched(tmp_path: Path) -> Iterator[Launched]:
    """Return two processes with a worker each, which have taken some steps."""
    write_recipe(tmp_path, workers=1)
    launched = Launched(tmp_path, [*TORCHRUN, *SENET, "hurt.yaml", "--folder", "run", "--allow-code", str(SOURCE)])
    launched.until_saved()
    assert len(launched.all()) == 4
    yield launched
    launched.clear()


def test_all_end_when_one_is_killed(launched: Launched) -> None:
    pids = launched.all()
    launched.kill(1)
    assert launched.ended() != 0
    assert_all_end(pids, ENDS_IN)


def test_all_end_saved_when_their_launcher_is_killed(launched: Launched, tmp_path: Path) -> None:
    pids = launched.all()
    launched.process.kill()
    assert_all_end(pids, ENDS_IN)
    assert "interrupted by SIGTERM; go on with" in launched.told()


def test_all_end_when_they_wait_for_images_for_ever(launched: Launched, tmp_path: Path) -> None:
    pids = launched.all()
    (tmp_path / "stuck").touch()
    until((tmp_path / "reading").exists)
    launched.process.send_signal(signal.SIGTERM)
    assert launched.ended() != 0
    assert_all_end(pids, ENDS_IN)
    assert read_checkpoint(launched.run.checkpoint)["epoch"] >= 0


def test_a_run_of_two_processes_is_not_gone_on_with_by_one(launched: Launched, tmp_path: Path) -> None:
    launched.process.send_signal(signal.SIGTERM)
    launched.ended()
    command = [sys.executable, *SENET, "--resume", "run", "--allow-code", str(SOURCE)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2
    assert "processes" in done.stderr
    assert "Traceback" not in done.stderr
