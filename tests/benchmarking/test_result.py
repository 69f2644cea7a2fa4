import json
from io import StringIO

import pytest
from rich.console import Console

from senet.benchmarking.memory import Memory
from senet.benchmarking.result import BenchResult, Comparison, comparisons_of
from senet.errors import UsageError
from senet.measuring.timing import Timing

EAGER, SE = Timing((1.0, 2.0, 1.0), (1.0, 1.0, 1.0)), Timing((2.0, 4.0, 3.0), (1.1, 1.2, 1.3))
FACTS = {"device": "a CPU", "threads": 1, "versions": {"torch": "2"}, "commit": None, "date": "2026-11-22T00:00:00+00:00"}


def comparison(**changes) -> Comparison:
    fast = {"plain fast": Timing((0.5,) * 3, (0.5,) * 3), "se fast": Timing((0.6,) * 3, (0.51,) * 3)}
    facts = {
        "about": "tiny",
        "timings": {"plain eager": EAGER, "se eager": SE, **fast},
        "pairs": {"eager": ("se eager", "plain eager"), "fast": ("se fast", "plain fast")},
        "memory": {"plain eager": Memory(100, 200), "se eager": Memory(125, 300)},
        "notes": ("a note",),
    }
    return Comparison(**(facts | changes))


def printed(result: BenchResult | Comparison) -> str:
    console = Console(width=80, record=True, file=StringIO())
    console.print(result.table())
    return console.export_text()


def test_overheads_are_of_the_same_engine_and_of_the_clock():
    of_cpu, of_wall = comparison().overhead("eager"), comparison(clock="wall").overhead("eager")
    assert (of_cpu.median, of_cpu.low, of_cpu.high) == pytest.approx((1.2, 1.15, 1.25))
    assert (of_wall.median, of_wall.low, of_wall.high) == pytest.approx((2.0, 2.0, 2.5))
    assert comparison().overhead("fast").median == pytest.approx(1.02)


def test_ratios_are_to_the_first_function():
    found = comparison().ratios
    assert list(found) == ["se eager", "plain fast", "se fast"]
    assert found["se fast"].cpu == pytest.approx(0.51)


def test_the_limit_is_one_of_process_time():
    assert comparison().within_limit()
    assert comparison(limit=1.2).within_limit()
    assert not comparison(limit=1.19).within_limit()


def test_plain_data_read_back_to_the_same():
    tree = json.loads(json.dumps(comparison().to_dict()))
    assert Comparison.from_dict(tree).to_dict() == comparison().to_dict()
    assert tree["timings"]["se eager"]["walls"] == [2.0, 4.0, 3.0]
    assert tree["overheads"]["eager"]["cpu"] == pytest.approx(1.2)
    assert tree["memory"]["se eager"] == {"saved": 125, "peak": 300}


def test_a_file_holds_one_comparison_or_several():
    tree = json.loads(json.dumps(BenchResult(FACTS, {}, (comparison(), comparison(about="other"))).to_dict()))
    assert [found.about for found in comparisons_of(tree)] == ["tiny", "other"]
    assert [found.about for found in comparisons_of(comparison().to_dict())] == ["tiny"]


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({}, "holds no comparisons"),
        ({"comparisons": []}, "holds no comparisons"),
        ({"about": "old", "timings": {"plain": {"median": 1.0}}}, "no single rounds of timing are in it; measure again"),
    ],
)
def test_other_files_are_refused(tree, message):
    with pytest.raises(UsageError, match=message):
        comparisons_of(tree)


def test_tables_fit_a_narrow_terminal():
    text = printed(BenchResult(FACTS, {}, (comparison(),)))
    assert "se eager    3000 2500-3500   1200   1.200 1.15-1.25     1.200" in text
    assert "1.250" in text
    assert "1.500" in text
    assert "a note" in text
    assert "a CPU, 1 thread; torch 2; commit unknown" in text
    assert "\N{HORIZONTAL ELLIPSIS}" not in text


def test_functions_without_pairs_have_no_column_for_them():
    text = printed(comparison(pairs={}, memory={}))
    assert "/ plain" not in text
    assert "CPU ratio" in text
