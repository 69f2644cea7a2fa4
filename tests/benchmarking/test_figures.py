"""Pictures show what was measured, and readers who see few colours can tell the two kinds of bar apart."""

import re

import pytest

from senet.benchmarking.result import Comparison
from senet.errors import UsageError
from senet.measuring.timing import Timing
from senet.report import figures
from senet.report.figures import OTHERS, OURS, draw_losses, draw_overheads

pytest.importorskip("matplotlib")


BASE = Timing((1.0,) * 3, (1.0,) * 3)


def comparison(**changes) -> Comparison:
    slower, faster = Timing((1.0,) * 3, (1.1, 1.2, 1.3)), Timing((1.0,) * 3, (0.97,) * 3)
    facts = {
        "about": "a network: training",
        "timings": {"plain eager": BASE, "se eager": slower, "plain fused": BASE, "se fused": faster},
        "pairs": {"eager": ("se eager", "plain eager"), "fused": ("se fused", "plain fused")},
    }
    return Comparison(**(facts | changes))


def words(path) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text())


def test_every_bar_has_its_engine_and_figure(tmp_path):
    path = tmp_path / "overheads.svg"
    other = comparison(about="a third", timings={"plain eager": BASE, "scse eager": BASE}, pairs={"eager": ("scse eager", "plain eager")})
    draw_overheads([comparison(), comparison(about="another", pairs={}), other], path)
    found = words(path)
    assert (found.count("eager"), found.count("fused")) == (2, 1)
    assert {"+20.0", "\N{MINUS SIGN}3.0", "0.0"} <= set(found)
    assert {"a network: training", "a third (scse)"} <= set(found)
    assert "another" not in found


def test_the_same_figures_give_the_same_file(tmp_path):
    for name in "ab":
        draw_overheads([comparison()], tmp_path / f"{name}.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_nothing_paired_is_nothing_to_draw(tmp_path):
    with pytest.raises(UsageError, match="the results pair no plain function with a recalibrated one"):
        draw_overheads([comparison(pairs={})], tmp_path / "x.svg")


def test_a_missing_library_is_named_with_the_cure(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "find_spec", lambda module: None)
    with pytest.raises(UsageError, match=r"pictures need matplotlib, which is not installed: pip install 'senet\[report\]'"):
        draw_overheads([comparison()], tmp_path / "x.png")


def test_loss_curves_have_a_key(tmp_path):
    path = tmp_path / "losses.svg"
    draw_losses({"reference": [[2.0, 1.5], [2.1, 1.4]], "cpp": [[2.0, 1.6], [2.2, 1.5]]}, path, "losses", first=20)
    assert {"reference, 2 seeds", "cpp, 2 seeds", "losses", "step", "training loss"} <= set(words(path))


def test_the_two_colours_differ_in_lightness():
    def luminance(colour: str) -> float:
        channels = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    assert (luminance(OTHERS) + 0.05) / (luminance(OURS) + 0.05) > 2
