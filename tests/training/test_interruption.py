"""Signals wait until they are asked for, and act at once the second time."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from senet.training.interruption import AGREE_EVERY, NOTICES, SIGNALS, Interrupted, Interruption


@pytest.fixture(autouse=True)
def terminal() -> Iterator[None]:
    """Handle SIGINT as a process at a terminal does; one in the background is started to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129), ("SIGUSR1", 138), ("SIGUSR2", 140), ("SIGXCPU", 152)]
)
def test_a_signal_waits_for_the_check(name: str, code: int, capfd: pytest.CaptureFixture) -> None:
    done, signum = [], signal.Signals[name]
    with Interruption() as interruption:
        interruption.check()
        signal.raise_signal(signum)
        done.append("the step goes on")
        with pytest.raises(Interrupted) as raised:
            interruption.check()
    assert done
    assert raised.value.exit_code == code
    assert name in str(raised.value)
    assert "finishing the step" in capfd.readouterr().err


def test_a_second_signal_acts_at_once(capfd: pytest.CaptureFixture) -> None:
    with Interruption():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("agree", [None, lambda own: own], ids=["one process", "several"])
def test_handlers_are_put_back(agree: Callable[[int], int] | None) -> None:
    signums = (*SIGNALS, *NOTICES, signal.SIGALRM)
    before = [signal.getsignal(signum) for signum in signums]
    with Interruption(agree):
        assert all(signal.getsignal(signum) != handler for signum, handler in zip(signums[:-1], before, strict=False))
    assert [signal.getsignal(signum) for signum in signums] == before


@pytest.mark.parametrize("signum", NOTICES)
@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda signum, frame: None], ids=["nohup", "the program's own"])
def test_what_is_done_about_a_notice_already_stays(signum: int, handler: Any) -> None:
    before = signal.signal(signum, handler)
    try:
        with Interruption() as interruption:
            signal.raise_signal(signum)
            interruption.check()
            assert signal.getsignal(signum) == handler
    finally:
        signal.signal(signum, before)


@pytest.mark.parametrize("order", [(signal.SIGHUP, signal.SIGHUP, signal.SIGTERM), (signal.SIGTERM, signal.SIGHUP, signal.SIGXCPU)])
def test_notices_that_come_again_or_beside_a_signal_do_not_break_the_saving(order: tuple[int, ...], capfd: pytest.CaptureFixture) -> None:
    with Interruption() as interruption:
        for signum in order:
            signal.raise_signal(signum)
        with pytest.raises(Interrupted) as raised:
            interruption.check()
    assert raised.value.signum == order[0]


def test_a_terminal_that_has_gone_does_not_stop_the_saving(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w") as gone:  # noqa: PTH123 - as the system gives it
        monkeypatch.setattr(sys, "__stderr__", gone)
        with Interruption() as interruption:
            signal.raise_signal(signal.SIGHUP)
            with pytest.raises(Interrupted):
                interruption.check()


def stuck(taken: list[int]) -> Iterator[int]:
    """Give one number, then wait for ever, and take errors for something of its own."""
    yield 1
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.01)
    while True:
        try:
            sum(range(1000))
        except Exception:
            taken.append(1)


@pytest.fixture
def later() -> Iterator[None]:
    """Let a timer that counts this process's work send SIGTERM."""
    before = signal.signal(signal.SIGVTALRM, lambda signum, frame: signal.raise_signal(signal.SIGTERM))
    yield
    signal.signal(signal.SIGVTALRM, before)


def test_a_wait_is_broken_off_and_nobody_takes_that_for_an_error(later: None, capfd: pytest.CaptureFixture) -> None:
    seen, taken = [], []
    with Interruption() as interruption, pytest.raises(Interrupted) as raised:
        seen.extend(interruption.guard(stuck(taken)))
    assert not taken
    assert (raised.value.signum, raised.value.alone) == (signal.SIGTERM, False)


def test_one_of_several_processes_stops_alone_if_the_wait_has_no_end(later: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("senet.training.interruption.ALONE_AFTER", 0.2)
    began = time.monotonic()
    with Interruption(agree=lambda own: own) as interruption, pytest.raises(Interrupted) as raised:
        list(interruption.guard(stuck([])))
    assert raised.value.alone
    assert time.monotonic() - began > 0.2
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_one_of_several_processes_does_not_stop_alone_while_batches_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("senet.training.interruption.ALONE_AFTER", 0.05)

    def slow() -> Iterator[int]:
        for number in range(6):
            if number == 1:
                signal.raise_signal(signal.SIGTERM)
            time.sleep(0.02)
            yield number

    with Interruption(agree=lambda own: own) as interruption:
        assert list(interruption.guard(slow())) == list(range(6))


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
