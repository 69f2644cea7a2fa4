import subprocess
import sys

import pytest

from senet.errors import UsageError
from senet.measuring.timing import Ratio, Timing, interleave, ratio


class Clock:
    """A clock that only the timed functions move, so that these tests cannot depend on the load of the machine."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    def work(self, seconds: float) -> None:
        self.wall += seconds
        self.cpu += 2 * seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("senet.measuring.timing.perf_counter", lambda: clock.wall)
    monkeypatch.setattr("senet.measuring.timing.process_time", lambda: clock.cpu)
    return clock


def test_summary_is_median_and_quartiles():
    timing = Timing(walls=(5.0, 1.0, 2.0, 4.0, 3.0), cpus=(10.0, 30.0, 20.0, 50.0, 40.0))
    assert (timing.median, timing.low, timing.high, timing.cpu, timing.rounds) == (3.0, 2.0, 4.0, 30.0, 5)
    assert timing.to_dict() == {"median": 3.0, "low": 2.0, "high": 4.0, "cpu": 30.0, "rounds": 5}


def test_one_round_has_no_spread():
    timing = Timing(walls=(2.0,), cpus=(1.0,))
    assert (timing.low, timing.median, timing.high) == (2.0, 2.0, 2.0)


def test_ratio_is_taken_round_by_round():
    # The machine was ten times slower in the second round: a ratio of medians would be 3.
    base = Timing(walls=(1.0, 10.0, 1.0), cpus=(1.0, 1.0, 2.0))
    mine = Timing(walls=(2.0, 20.0, 3.0), cpus=(4.0, 2.0, 2.0))
    assert ratio(mine, base) == Ratio(median=2.0, low=2.0, high=2.5, cpu=2.0)


def test_ratio_of_different_runs_is_refused():
    with pytest.raises(UsageError, match="one interleaved run, got 1 and 2 rounds"):
        ratio(Timing((1.0,), (1.0,)), Timing((1.0, 1.0), (1.0, 1.0)))


def test_order_is_there_and_back():
    log: list[str] = []
    functions = {name: (lambda name=name: log.append(name)) for name in "abc"}
    timings = interleave(functions, rounds=2, min_seconds=0.0)
    assert "".join(log) == "aabbcc" + "abccba" * 2
    assert list(timings) == ["a", "b", "c"]
    assert all(timing.rounds == 2 for timing in timings.values())


def test_quick_functions_are_called_often_enough(clock):
    calls = 0

    def count() -> None:
        nonlocal calls
        calls += 1
        clock.work(0.25)

    timing = interleave({"count": count}, rounds=3, min_seconds=1.0)["count"]
    assert calls == 2 + 3 * 2 * 4
    assert (timing.walls, timing.cpus) == ((0.25,) * 3, (0.5,) * 3)  # of a call, not of a visit


def test_a_slow_spell_meets_both(clock):
    pace = iter([1.0] * 8 + [10.0] * 4 + [1.0] * 4)  # four warm-up calls, then three rounds of four visits, the second ten times slower

    def takes(seconds: float):
        return lambda: clock.work(seconds * next(pace))

    timings = interleave({"plain": takes(1.0), "se": takes(1.5)}, rounds=3, min_seconds=0.0)
    assert timings["plain"].walls == (1.0, 10.0, 1.0)
    assert ratio(timings["se"], timings["plain"]) == Ratio(1.5, 1.5, 1.5, 1.5)


def test_time_limit_leaves_three_rounds(clock):
    assert interleave({"f": lambda: clock.work(1.0)}, rounds=50, max_seconds=0.5)["f"].rounds == 3
    assert interleave({"f": lambda: clock.work(1.0)}, rounds=50, max_seconds=11.0)["f"].rounds == 6
    assert interleave({"f": lambda: clock.work(1.0)}, rounds=2, max_seconds=0.5)["f"].rounds == 2


def test_of_long_calls_one_round_is_enough(clock):
    called = []

    def takes(name, seconds):
        return lambda: called.append(name) or clock.work(seconds)

    timings = interleave({"a": takes("a", 5.0), "b": takes("b", 1.0)}, max_seconds=10.0, long_call=2.0)
    assert {name: (timing.rounds, timing.median) for name, timing in timings.items()} == {"a": (1, 5.0), "b": (1, 1.0)}
    assert called == list("abb" + "abba")
    assert interleave({"a": takes("a", 5.0)}, rounds=50, max_seconds=25.0, long_call=2.0)["a"].rounds == 3


def test_real_clocks_give_seconds():
    timing = interleave({"sum": lambda: sum(range(20_000))}, rounds=3, min_seconds=0.005)["sum"]
    assert 1e-5 < timing.cpu < 1.0
    assert timing.low <= timing.median <= timing.high


@pytest.mark.parametrize(("functions", "rounds", "message"), [({}, 1, "at least one function"), ({"f": print}, 0, "rounds must be")])
def test_nothing_to_do_is_an_error(functions, rounds, message):
    with pytest.raises(UsageError, match=message):
        interleave(functions, rounds=rounds)


def test_needs_no_torch():
    subprocess.run([sys.executable, "-c", "import sys, senet.measuring.timing; assert 'torch' not in sys.modules"], check=True)


def test_each_round_is_told(clock):
    told = []
    timings = interleave({"a": lambda: clock.work(1.0)}, rounds=3, after_round=lambda so_far: told.append(so_far["a"]))
    assert [timing.rounds for timing in told] == [1, 2, 3]
    assert told[-1] == timings["a"]
