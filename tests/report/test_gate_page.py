"""The page of an analysis of gates: its words and figures, and what a browser shows of it."""

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from made_analyses import written
from made_runs import tiny
from report.test_page import CONTRAST, browser as browser
from senet.analysis.advice import Advice
from senet.measuring.scores import Loss
from senet.report.block_effects import SymmetricLog
from senet.report.gate_page import render_analysis
from senet.results.gate_analysis import GateAnalysis
from senet.training.analyse import analyse
from tasks.segmentation.made_masks import tiny_masks

ADVICE = (Advice("fold", ("layer3.0.se", "layer3.2.se"), "gates vary by <i>0.01</i>: fold them"), Advice("note", (), "more"))


@pytest.fixture(scope="module")
def analyses(tmp_path_factory: pytest.TempPathFactory) -> dict[str, GateAnalysis]:
    folder = tmp_path_factory.mktemp("analyses")
    digits, _ = written(tiny(model__name="preresnet20", model__stages=[3]), folder / "digits.safetensors")
    masks, said = written(tiny_masks(), folder / "masks.safetensors")
    found = analyse(digits, limit=30)
    lost = {"channel": Loss(-0.02, -0.5, 0.3), "mean": Loss(4.0, 2.0, 6.0), "none": Loss(61.5, 57.0, 66.0)}
    found = replace(found, effects=tuple(replace(effect, losses=lost) for effect in found.effects), advice=ADVICE)
    return {"digits": found, "masks": analyse(masks, said)}


def test_page_needs_nothing_from_outside(analyses: dict[str, GateAnalysis]) -> None:
    for analysis in analyses.values():
        page = re.sub(r"data:image/webp;base64,[A-Za-z0-9+/]+=*", "data:,", render_analysis(analysis))
        assert set(re.findall(r'(?:src|href)="([^"]*)"', page)) == {"data:,"}
        for foreign in ("//", "url(", "<script", "@import"):
            assert foreign not in page


def test_page_says_every_figure(analyses: dict[str, GateAnalysis]) -> None:
    analysis = analyses["digits"]
    page = render_analysis(analysis)
    for block in analysis.statistics.blocks:
        row = page[page.index(f'<tr><th scope="row">{block.name}<small>{block.path}') :].partition("</tr>")[0]
        assert f"<td>{block.distance:.3f}</td>" in row
        assert f"<td>{block.dead} of {block.hidden}</td>" in row
        assert f"<td>{block.rank:.1f}</td>" in row
    for words in (
        "What do the gates of se_preresnet20 do on digits?",
        "30 of 596 validation images",
        "2 of 3 blocks can be folded",
        "gates vary by &lt;i&gt;0.01&lt;/i&gt;: fold them.",
        "<td>61.50<small>(57.00 to 66.00)</small></td>",
        "SE_3_2, dropped: 61.50 points (57.00 to 66.00)",
        "paired bootstrap",
        "Excitation by class",
    ):
        assert words in page
    assert "Gates of positions" not in page


def test_page_of_masks_has_heat_maps_and_no_intervals(analyses: dict[str, GateAnalysis]) -> None:
    page = render_analysis(analyses["masks"])
    for words in ("Gates of positions", "discs 4", "Dice is no mean over images", "SE_1_1, positions", "counts for each as often"):
        assert words in page
    assert page.count("data:image/webp;base64,") == 2
    assert "paired bootstrap" not in page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["digits", "masks"])
def test_page_in_a_browser(browser, analyses: dict[str, GateAnalysis], tmp_path: Path, name: str, width: int, scheme: str) -> None:
    file = tmp_path / "page.html"
    file.write_text(render_analysis(analyses[name]), encoding="utf-8")
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(file.as_uri())
    page.eval_on_selector_all("details", "all => all.forEach(one => one.open = true)")
    assert complaints == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for section in ("effects", "gates", "excitation", "setup"):
        assert page.locator(f"section#{section} h2").is_visible()
    texts = page.evaluate(CONTRAST)
    assert len(texts) > 100
    assert [text for text in texts if text["contrast"] < 4.5] == []
    assert [text for text in texts if text["size"] < 9.5] == []
    context.close()


def test_losses_of_any_size_are_seen_on_one_axis() -> None:
    scale = SymmetricLog(0.1, -2.0, 80.0, 0.0, 400.0)
    assert (scale(-2.0), scale(80.0)) == (0.0, pytest.approx(400.0))
    places = [scale(value) for value in (-2.0, -0.1, 0.0, 0.1, 1.0, 10.0, 80.0)]
    assert places == sorted(places)
    assert min(after - before for before, after in pairwise(places)) > 20
    assert scale.ticks() == [-1.0, -0.1, 0.0, 0.1, 1.0, 10.0]
