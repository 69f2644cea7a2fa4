import itertools
import math
from xml.etree import ElementTree

import pytest
from hypothesis import given, strategies as st

from senet.report.svg import Drawing, Scale, separate_labels, series, tick_label, tick_step

spans = st.floats(1e-6, 1e9)


@given(spans, st.integers(2, 10))
def test_step_is_round_and_gives_about_as_many_parts(span: float, about: int) -> None:
    step = tick_step(span, about)
    mantissa = step / 10 ** math.floor(math.log10(step) + 1e-9)
    assert min(abs(mantissa - round_) for round_ in (1, 2, 5, 10)) < 1e-6
    assert about / 2.6 <= span / step <= about * 1.001


@given(st.floats(-1e3, 1e3), spans)
def test_ticks_are_inside_the_scale_and_evenly_apart(low: float, span: float) -> None:
    scale = Scale(low, low + span, 0, 100)
    ticks = scale.ticks(5)
    assert all(low - 1e-6 * span - 1e-9 <= tick <= low + span * (1 + 1e-6) + 1e-9 for tick in ticks)
    assert len(ticks) <= 7


def test_whole_ticks_have_no_fractions() -> None:
    assert Scale(1, 3, 0, 1).ticks(5, whole=True) == [1, 2, 3]


@pytest.mark.parametrize(
    ("value", "step", "text"), [(0.5, 0.5, "0.5"), (1, 1, "1"), (-0.25, 0.05, "\u22120.25"), (20, 10, "20"), (0.1, 0.001, "0.100")]
)
def test_tick_label(value: float, step: float, text: str) -> None:
    assert tick_label(value, step) == text


def test_scale_maps_ends_to_ends_even_when_they_are_one() -> None:
    scale = Scale(90, 100, 262, 30)
    assert (scale(90), scale(100), scale(95)) == (262, 30, 146)
    assert Scale(5, 5, 0, 10)(5) == 0


@given(st.lists(st.floats(0, 200), min_size=1, max_size=8))
def test_labels_are_kept_apart_in_their_order(wanted: list[float]) -> None:
    placed = separate_labels(wanted, 16, 0, 200)
    by_place = sorted(placed)
    assert all(after - before >= 16 - 1e-6 for before, after in itertools.pairwise(by_place))
    for i, first in enumerate(wanted):
        for j, second in enumerate(wanted):
            assert first >= second or placed[i] <= placed[j]


def test_colours_come_again_but_never_the_baselines() -> None:
    assert [series(place) for place in range(9)] == ["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s1", "s2"]


def test_drawing_is_well_formed_whatever_the_labels() -> None:
    drawing = Drawing(100, 50, 'a < b & "c"')
    drawing.text((1.23456, 2), "<SE> & 'more'", class_="label")
    drawing.add("circle", tip='seed "0" < 1', cx=1.0, cy=2.0, r=3.0, class_="seed")
    drawing.window(Scale(0, 1, 0, 10), Scale(0, 1, 10, 0))
    drawing.path([(0, 0), (1, 1)], class_="curve")
    drawing.end_window()
    root = ElementTree.fromstring(str(drawing))
    assert root.attrib["aria-label"] == 'a < b & "c"'
    assert [child.tag for child in root] == ["text", "circle", "svg"]
    assert root[0].text == "<SE> & 'more'"
    assert root[0].attrib["x"] == "1.23"
