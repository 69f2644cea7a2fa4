"""Signals wait until they are asked for, and act at once the second time."""

import os
import signal
import threading
from collections.abc import Iterable, Iterator

import pytest

from senet.training.interruption import AGREE_EVERY, Interrupted, Interruption


@pytest.fixture(autouse=True)
def terminal() -> Iterator[None]:
    """Handle SIGINT as a process at a terminal does; one in the background is started to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_waits_for_the_check(signum: int, code: int, capfd: pytest.CaptureFixture) -> None:
    done = []
    with Interruption() as interruption:
        interruption.check()
        signal.raise_signal(signum)
        done.append("the step goes on")
        with pytest.raises(Interrupted) as raised:
            interruption.check()
    assert done
    assert raised.value.exit_code == code
    assert signal.Signals(signum).name in str(raised.value)
    assert "finishing the step" in capfd.readouterr().err


def test_a_second_signal_acts_at_once(capfd: pytest.CaptureFixture) -> None:
    with Interruption():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)]
    with Interruption():
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_guarded_iteration_stops_after_the_item_in_hand(capfd: pytest.CaptureFixture) -> None:
    seen = []

    def use(items: Iterable[int]) -> None:
        for item in items:
            seen.append(item)
            if item == 2:
                signal.raise_signal(signal.SIGTERM)

    with Interruption() as interruption, pytest.raises(Interrupted):
        use(interruption.guard(range(5)))
    assert seen == [0, 1, 2]


def test_processes_stop_together_on_the_signal_that_any_of_them_got() -> None:
    asked = []

    def agree(own: int) -> int:
        asked.append(own)
        return signal.SIGTERM if len(asked) == 2 else 0

    with Interruption(agree) as interruption:
        for _ in range(2 * AGREE_EVERY - 1):
            interruption.check()
        with pytest.raises(Interrupted) as raised:
            interruption.check()
    assert asked == [0, 0]
    assert raised.value.signum == signal.SIGTERM


def test_launchers_that_repeat_a_signal_do_not_break_the_saving() -> None:
    with Interruption(agree=lambda own: own) as interruption:
        for _ in range(3):
            signal.raise_signal(signal.SIGINT)
        for _ in range(AGREE_EVERY - 1):
            interruption.check()
        with pytest.raises(Interrupted):
            interruption.check()


def test_a_forked_worker_neither_stops_nor_speaks(capfd: pytest.CaptureFixture) -> None:
    with Interruption() as interruption:
        interruption._process = os.getpid() + 1  # what a forked child sees: the handler of another process
        signal.raise_signal(signal.SIGINT)
        interruption.check()
    assert capfd.readouterr().err == ""


def test_other_threads_are_served_without_signals() -> None:
    def work() -> None:
        with Interruption() as interruption:
            interruption.check()
            passed.append(True)

    passed: list[bool] = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert passed == [True]
