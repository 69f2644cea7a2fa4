"""A comparison of networks that predict masks, on images of several sizes."""

import os
import signal
from pathlib import Path

import pytest
import torch

import senet.comparison.measure as measure
from comparison.test_side_by_side import when
from senet.comparison import compare
from senet.results.comparison import Result
from senet.results.run_folder import RunFolder
from senet.training.interruption import Interrupted
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


@pytest.mark.slow
def test_two_processes_that_are_interrupted_go_on_to_the_figures_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(measure, "ROUNDS", 3)
    recipe, vary = tiny_masks(training__epochs=4, model__name="unet"), {"block": [None, "scse"]}

    def both_have_begun() -> bool:
        return len(list((tmp_path / "both").glob("compare-discs/*/last.ckpt"))) == 2

    watching = when(both_have_begun, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Interrupted, match="the same command goes on from there"):
        compare(recipe, vary=vary, seeds=1, jobs=2, out=tmp_path / "both", report=False, progress=False)
    watching.join()
    assert any(not RunFolder(path.parent).is_finished() for path in (tmp_path / "both").glob("compare-discs/*/last.ckpt"))
    two = compare(recipe, vary=vary, seeds=1, jobs=2, out=tmp_path / "both", report=False, progress=False)
    one = compare(recipe, vary=vary, seeds=1, out=tmp_path / "one", report=False, progress=False)
    assert [variant.label for variant in two.variants] == [variant.label for variant in one.variants]
    for ours, theirs in zip(two.variants, one.variants, strict=True):
        assert [run.history for run in ours.runs] == [run.history for run in theirs.runs]
        assert [run.tables for run in ours.runs] == [run.tables for run in theirs.runs]
