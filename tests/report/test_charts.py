"""The figures say the numbers, place them truthfully, and hide none."""

import itertools
import re
from xml.etree import ElementTree

import pytest

from made_results import make_result
from senet.report.costs import cost_chart
from senet.report.curves import MeanCurve, axis_range, learning_chart, learning_curve
from senet.report.differences import difference_chart, lanes
from senet.report.excitations import class_chart, gate_range, spread_chart
from senet.report.svg import Drawing

TWO = {"plain": [98.15, 97.98, 98.32], "SE": [98.65, 98.58, 98.92]}
MANY = {"plain": [98.15, 97.98, 98.32], **{f"SE, reduction {r}": [98.0 + r / 10, 98.5, 97.9] for r in (2, 4, 8, 16)}}


def parts(drawing: Drawing, word: str) -> list[ElementTree.Element]:
    return [part for part in ElementTree.fromstring(str(drawing)).iter() if word in part.attrib.get("class", "").split()]


def test_differences_stand_where_they_belong() -> None:
    drawing = difference_chart(make_result(TWO))
    zero = float(parts(drawing, "zero")[0].attrib["x1"])
    seeds = [float(part.attrib["cx"]) for part in parts(drawing, "seed")]
    ends = sorted(float(parts(drawing, "interval")[0].attrib[end]) for end in ("x1", "x2"))
    assert (seeds[0] - zero) / (seeds[1] - zero) == pytest.approx(0.5 / 0.6, rel=0.01)
    assert zero < ends[0] < min(seeds) < max(seeds) < ends[1]
    assert "SE: +0.57 (+0.42 to +0.71)" in drawing.alternative


def test_one_seed_draws_no_interval_and_says_so() -> None:
    drawing = difference_chart(make_result({"plain": [98.0], "SE": [99.0]}))
    assert parts(drawing, "interval") == []
    assert "one seed, no interval" in drawing.alternative


def test_equal_seeds_lie_beside_each_other() -> None:
    assert lanes([10.0, 10.0, 50.0, 10.0]) == [0, 1, 0, -1]


def test_curves_are_mean_and_range_of_the_seeds_that_got_so_far() -> None:
    result = make_result(TWO)
    runs = result.variants[1].runs
    found = learning_curve(result.variants[1], "val_top1")
    last = [run.history["val_top1"][-1] for run in runs]
    assert (found.low[-1], found.high[-1]) == (min(last), max(last))
    assert found.mean[-1] == pytest.approx(sum(last) / 3)
    assert len(found.mean) == 20


def test_axis_shows_what_follows_the_first_fifth() -> None:
    flat = MeanCurve(*[(10.0, 20.0, 97.2, 97.4, 97.6, 97.8, 97.9, 97.9, 97.9, 97.9)] * 3)
    assert axis_range([flat], ceiling=100.0) == pytest.approx((97.2, 98.0))
    assert axis_range([flat], floor=0.0, ceiling=98.0) == (0.0, 98.0)


def test_axis_of_a_constant_has_a_height() -> None:
    perfect = MeanCurve((100.0,), (100.0,), (100.0,))
    assert axis_range([perfect], ceiling=100.0) == pytest.approx((99.8, 100.0))


def test_learning_curve_of_one_epoch_and_one_seed_can_be_drawn() -> None:
    drawing = learning_chart(make_result({"plain": [50.0], "SE": [50.0]}, epochs=1), "val_top1", "Top-1", ceiling=100.0)
    assert parts(drawing, "band") == []
    assert len(parts(drawing, "curve")) == 2
    assert "nan" not in str(drawing)
    first, second = parts(drawing, "dot")
    assert first.attrib["cy"] == second.attrib["cy"]
    assert float(second.attrib["cx"]) - float(first.attrib["cx"]) >= 8, "equal values do not hide each other"


def test_several_seeds_of_one_epoch_are_a_dot_and_their_range() -> None:
    drawing = learning_chart(make_result({"plain": [50.0, 54.0], "SE": [51.0, 51.0]}, epochs=1), "val_top1", "Top-1", ceiling=100.0)
    (plain, _), (dot, _) = parts(drawing, "stem"), parts(drawing, "dot")
    ends = sorted((float(plain.attrib["y1"]), float(plain.attrib["y2"])))
    assert float(dot.attrib["cy"]) == pytest.approx(sum(ends) / 2, abs=0.01)
    assert ends[1] - ends[0] > 20
    assert not parts(learning_chart(make_result(TWO), "val_top1", "Top-1", ceiling=100.0), "dot")


def test_labels_at_the_end_of_the_curves_do_not_overlap() -> None:
    drawing = learning_chart(make_result(MANY), "val_top1", "Top-1", ceiling=100.0)
    heights = sorted(float(part.attrib["y"]) for part in parts(drawing, "label"))
    assert len(heights) == 5
    assert min(after - before for before, after in itertools.pairwise(heights)) >= 13.9


@pytest.mark.parametrize("accuracies", [TWO, MANY], ids=["two", "many"])
def test_costs_are_drawn_for_every_variant(accuracies: dict) -> None:
    drawing = cost_chart(make_result(accuracies))
    assert len(parts(drawing, "dot")) == 4 * (len(accuracies) - 1)
    assert "Parameters +0.96 %, MACs +0.02 %, Latency 1.08\u00d7, Training step 1.08\u00d7" in drawing.alternative


def test_excitations_show_the_classes_and_their_mean() -> None:
    panel, names = make_result(TWO).variants[1].excitations[0], tuple("0123456789")
    drawing = class_chart(panel, names, (0.0, 1.0))
    assert [part.attrib["class"] for part in parts(drawing, "gate")] == ["gate s1", "gate s2", "gate s3", "gate s4", "gate all"]
    points = re.findall(r"[\d.]+ [\d.]+", parts(drawing, "all")[0].attrib["d"])
    assert len(points) == len(panel.channels)
    y = [float(point.split()[1]) for point in points]
    assert y == pytest.approx([178 - 150 * value for value in panel.overall], abs=0.01)
    assert "all classes 0.50" in drawing.alternative


def test_spread_within_a_class_has_bands() -> None:
    panel = make_result(TWO).variants[1].excitations[0]
    assert len(parts(spread_chart(panel, tuple("0123456789"), (0.0, 1.0)), "band")) == 2


def test_gates_share_an_axis_that_holds_them() -> None:
    assert gate_range(make_result(TWO).variants[1].excitations) == (0.0, 1.0)
