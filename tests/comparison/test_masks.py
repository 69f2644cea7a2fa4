"""A comparison of networks that predict masks, on images of several sizes."""

from pathlib import Path

import pytest

import senet.comparison.measure as measure
from senet.comparison import compare
from senet.results.comparison import Result
from tasks.segmentation.made_masks import tiny_masks


def test_variants_are_compared_by_dice_with_tables_and_gates(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(measure, "ROUNDS", 3)
    recipe = tiny_masks(training__epochs=1, model__name="unet")
    result = compare(recipe, vary={"block": [None, "sse", "scse"]}, seeds=2, out=tmp_path, progress=False)

    plain, sse, scse = result.variants
    assert result.metrics[0].name == "dice"
    assert scse.cost.params > sse.cost.params > plain.cost.params
    assert plain.excitations == sse.excitations == ()
    assert [list(panel.classes) for panel in scse.excitations] == [[0, 1, 2]] * 4
    assert [panel.name for panel in scse.excitations] == ["SE_1_1", "SE_2_1", "SE_4_1", "SE_5_1"]
    assert all(panel.weighted for panel in scse.excitations)
    assert Result.read(result.json or "").variants == result.variants
    page = Path(result.page or "").read_text(encoding="utf-8")
    assert "Dice" in page
    assert "region size" in page
    assert "Excitation by class" in page

    again = compare(recipe, vary={"block": [None, "sse", "scse"]}, seeds=2, out=tmp_path, progress=False)
    assert again.differences == result.differences
