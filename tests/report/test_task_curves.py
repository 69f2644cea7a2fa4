"""Curves of a task on the page: what is drawn is the mean over seeds and its range, in true places."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from made_results import make_result
from senet.report.page import render
from senet.report.svg import Drawing
from senet.report.task_curves import CHARTED_LINES, task_chart, task_charts
from senet.results.comparison import Result
from senet.results.curves import CurveChart


def with_charts(lines: int = 2, scale: float = 1.0, y: str = "precision %", seeds: int = 2) -> Result:
    """Return a result in which seed s of variant v has the values 80 + 10 s - 20 v, 40 and 0, in each curve."""
    made = make_result({"plain": [50.0] * seeds, "SE": [60.0] * seeds})
    names = ["all classes", *(f"class {number}" for number in range(lines - 1))]

    def chart(seed: int, place: int) -> CurveChart:
        values = tuple(scale * value for value in (80.0 + 10 * seed - 20 * place, 40.0, 0.0))
        return CurveChart("recall %", y, (0.0, 50.0, 100.0), dict.fromkeys(names, values))

    variants = tuple(
        replace(variant, runs=tuple(replace(run, curves={"IoU 0.5": chart(run.seed, place)}) for run in variant.runs))
        for place, variant in enumerate(made.variants)
    )
    return replace(made, variants=variants)


def paths(drawing: Drawing, word: str) -> list[list[tuple[float, float]]]:
    found = [part.attrib["d"] for part in ElementTree.fromstring(str(drawing)).iter() if word in part.attrib.get("class", "").split()]
    return [[(float(x), float(y)) for x, y in re.findall(r"([\d.]+) ([\d.]+)", d)] for d in found]


def test_curves_are_the_mean_and_the_range_of_the_seeds() -> None:
    drawing = task_chart(with_charts(), "IoU 0.5", "all classes")
    plain, se = paths(drawing, "curve")
    floor = plain[2][1]
    per_percent = (floor - plain[1][1]) / 40
    assert (floor - plain[0][1]) / per_percent == pytest.approx(85, abs=0.1)
    assert (floor - se[0][1]) / per_percent == pytest.approx(65, abs=0.1)
    assert plain[1][0] - plain[0][0] == pytest.approx(plain[2][0] - plain[1][0], abs=0.02)
    bands = paths(drawing, "band")
    assert [(floor - band[0][1]) / per_percent for band in bands] == pytest.approx([90, 70], abs=0.1)
    assert [(floor - band[-1][1]) / per_percent for band in bands] == pytest.approx([80, 60], abs=0.1)
    assert "plain 41.7 on average; SE 35 on average" in drawing.alternative
    assert "mean and range of 2 seeds" in drawing.alternative


def test_one_seed_has_no_band_and_other_quantities_an_axis_of_their_own() -> None:
    drawing = task_chart(with_charts(seeds=1, scale=0.01, y="error"), "IoU 0.5", "all classes")
    assert paths(drawing, "band") == []
    heights = [y for path in paths(drawing, "curve") for _, y in path]
    assert max(heights) - min(heights) > 200, "the curves fill the chart"


def test_a_page_has_every_curve_unless_they_are_too_many() -> None:
    (few,), (many,) = task_charts(with_charts(CHARTED_LINES + 1)), task_charts(with_charts(CHARTED_LINES + 2))
    assert (len(few.parts), few.left_out) == (CHARTED_LINES, 0)
    assert (len(many.parts), many.left_out) == (0, CHARTED_LINES + 1)
    page = render(with_charts(CHARTED_LINES + 2))
    assert f"has the curves of {CHARTED_LINES + 1} parts, too many to be drawn" in page
    assert "with the best weights of each run" in page


def test_a_task_without_curves_has_no_section() -> None:
    made = make_result({"plain": [50.0], "SE": [60.0]})
    assert task_charts(made) == []
    assert 'id="curves"' not in render(made)
