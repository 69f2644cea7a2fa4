"""Runs whose processes are told to end, killed or stopped: they end in seconds, resumable, and leave no process."""

import os
import pty
import select
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from faults.begun import Begun, begin, train, write_recipe
from process_ends import SECONDS, assert_all_end, children, lives, state_of, until
from senet.results.run_folder import RunFolder
from senet.training.checkpoint import read_checkpoint

SOON = 30.0
"""Seconds in which a run has to end; nearly all of them are left to a busy machine. What it would wait for never comes."""

pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Begun]]:
    begun: list[Begun] = []

    def started(**options: int) -> Begun:
        begun.append(begin(tmp_path, **options))
        return begun[-1]

    yield started
    for one in begun:
        for pid in (one.pid, *children(one.pid)):
            if lives(pid):
                os.kill(pid, signal.SIGKILL)
        one.process.join(SECONDS)


@pytest.mark.parametrize(("workers", "signum"), [(0, signal.SIGTERM), (1, signal.SIGHUP), (2, signal.SIGTERM), (2, signal.SIGINT)])
def test_a_run_that_waits_for_an_image_ends_at_its_last_step(run: Callable[..., Begun], workers: int, signum: int) -> None:
    begun = run(workers=workers)
    begun.stick()
    made, began = [begun.pid, *children(begun.pid)], time.monotonic()
    begun.send(signum)
    assert begun.ended() == 128 + signum, begun.told()
    assert time.monotonic() - began < SOON
    assert f"interrupted by {signal.Signals(signum).name}; go on with `senet train --resume" in begun.told()
    assert "Traceback" not in begun.told()
    assert read_checkpoint(begun.run.checkpoint)["batch"] > 0
    assert_all_end(made)


def test_a_second_signal_ends_a_run_and_its_workers_at_once(run: Callable[..., Begun]) -> None:
    begun = run(workers=2)
    begun.stick()
    made = children(begun.pid)
    os.kill(made[0], signal.SIGSTOP)
    began = time.monotonic()
    begun.send(signal.SIGTERM)
    until(lambda: "finishing the step and saving" in begun.told())  # two that wait to be taken are one
    begun.send(signal.SIGTERM)
    assert begun.ended() == -signal.SIGTERM, begun.told()
    assert time.monotonic() - began < SOON
    assert_all_end(made)


@pytest.mark.parametrize("worker", ["reads", "is stuck", "is stopped"])
def test_workers_end_with_a_run_that_is_killed(run: Callable[..., Begun], worker: str) -> None:
    begun = run(workers=2)
    made = children(begun.pid)
    if worker == "is stuck":
        begun.stick()
    if worker == "is stopped":
        os.kill(made[0], signal.SIGSTOP)
    begun.send(signal.SIGKILL)
    assert_all_end(made)


def test_a_killed_worker_is_one_line_and_the_run_can_go_on(run: Callable[..., Begun]) -> None:
    begun = run(workers=2)
    made = children(begun.pid)
    os.kill(made[1], signal.SIGKILL)
    assert begun.ended() == 1
    line = begun.told().strip().splitlines()[-1]
    assert line.startswith(f"senet train: a worker process that loads images has died (pid {made[1]}, killed by SIGKILL)")
    assert f"--data.workers 0; go on with `senet train --resume {begun.run.path}`" in line
    assert "Traceback" not in begun.told()
    assert read_checkpoint(begun.run.checkpoint)["epoch"] >= 0
    assert_all_end(made)


def test_a_stopped_run_goes_on(run: Callable[..., Begun]) -> None:
    begun = run(workers=1, epochs=3)
    begun.send(signal.SIGSTOP)
    until(lambda: state_of(begun.pid) == "T")
    begun.send(signal.SIGCONT)
    assert begun.ended() == 0, begun.told()
    assert begun.run.is_finished()


def test_a_run_whose_terminal_is_closed_is_saved(tmp_path: Path) -> None:
    write_recipe(tmp_path, workers=1)
    pid, terminal = pty.fork()
    if not pid:  # the run, whose terminal's other end is ours
        try:
            os._exit(train(tmp_path))
        finally:
            os._exit(99)
    run, shown = RunFolder(tmp_path / "run"), bytearray()

    def is_shown() -> bool:
        if select.select([terminal], [], [], 0.1)[0]:
            shown.extend(os.read(terminal, 10_000))
        return run.has_checkpoint() and b"epoch" in shown

    try:
        until(is_shown)
        workers = children(pid)
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        raise
    finally:
        os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 128 + signal.SIGHUP, shown[-2000:]
    assert read_checkpoint(run.checkpoint)["epoch"] >= 0
    assert_all_end(workers)
