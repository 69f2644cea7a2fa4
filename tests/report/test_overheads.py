"""The bars say what was measured, and stand where their figures say."""

import re
from xml.etree import ElementTree

import pytest

from senet.benchmarking.result import Comparison
from senet.errors import UsageError
from senet.measuring.timing import Timing
from senet.report.overheads import overheads_chart
from senet.report.svg import Drawing

BASE = Timing((1.0,) * 3, (1.0,) * 3)


def comparison(**changes: object) -> Comparison:
    slower, faster = Timing((1.0,) * 3, (1.1, 1.2, 1.3)), Timing((1.0,) * 3, (0.97,) * 3)
    facts = {
        "about": "a network: training",
        "timings": {"plain eager": BASE, "se eager": slower, "plain fused": BASE, "se fused": faster},
        "pairs": {"eager": ("se eager", "plain eager"), "fused": ("se fused", "plain fused")},
    }
    return Comparison(**(facts | changes))


def words(drawing: Drawing) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", str(drawing))


def test_every_bar_has_its_engine_and_figure() -> None:
    other = comparison(about="a third", timings={"plain eager": BASE, "scse eager": BASE}, pairs={"eager": ("scse eager", "plain eager")})
    drawing = overheads_chart([comparison(), comparison(about="another", pairs={}), other])
    found = words(drawing)
    assert (found.count("eager"), found.count("fused")) == (2, 1)
    assert {"+20.0", "\N{MINUS SIGN}3.0", "0.0"} <= set(found)
    assert {"a network: training", "a third (scse)"} <= set(found)
    assert "another" not in found
    assert "a network: training: eager +20.0 % (+15.0 to +25.0), fused \N{MINUS SIGN}3.0 %" in drawing.alternative


def test_bars_are_as_long_as_their_figures() -> None:
    root = ElementTree.fromstring(str(overheads_chart([comparison()])))
    eager, fused = (rect.attrib for rect in root.iter("rect") if rect.find("title") is not None)
    zero = next(float(line.attrib["x1"]) for line in root.iter("line") if line.attrib["class"] == "zero")
    assert float(eager["x"]) == pytest.approx(zero, abs=0.01)
    assert float(fused["x"]) + float(fused["width"]) == pytest.approx(zero, abs=0.01)
    assert float(eager["width"]) / float(fused["width"]) == pytest.approx(20 / 3, rel=1e-3)
    assert (eager["class"], fused["class"]) == ("bar s1", "bar s2")
    whisker = next(line.attrib for line in root.iter("line") if line.attrib["class"] == "quartiles")
    unit = float(eager["width"]) / 20
    assert [(float(whisker[end]) - zero) / unit for end in ("x1", "x2")] == pytest.approx([15, 25], abs=0.02)


def test_all_is_inside_the_drawing_however_long_the_names() -> None:
    once = {"plain onnxruntime-exported": Timing((1.0,), (1.0,)), "se onnxruntime-exported": Timing((1.0,), (12.345,))}
    pairs = {"onnxruntime-exported": ("se onnxruntime-exported", "plain onnxruntime-exported")}
    drawing = overheads_chart([comparison(timings=once, pairs=pairs)])
    for x in re.findall(r' x[12]?="([^"]*)"', str(drawing)):
        assert 0 <= float(x) <= drawing.width


def test_nothing_paired_is_nothing_to_draw() -> None:
    with pytest.raises(UsageError, match="the results pair no plain function with a recalibrated one"):
        overheads_chart([comparison(pairs={})])
