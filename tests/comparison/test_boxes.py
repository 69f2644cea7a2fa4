"""A comparison of detectors: figures, tables, curves and pictures, as data and on the page; finished runs are used again."""

import json
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest
import torch

import senet.comparison.measure as measure
from senet.cli.main import main
from senet.comparison import compare
from senet.errors import UsageError
from senet.recipe import Recipe
from senet.report.page import render
from senet.report.task_curves import task_charts
from senet.results.comparison import Result
from senet.training.evaluate import evaluate
from tasks.detection.made_rectangles import CLASSES, tiny_boxes

VARY = {"block": [None, "se"]}


def recipe(**changes: object) -> Recipe:
    """Return a recipe whose detections count and are shown from low scores on, as those of a network that is trained for a moment are."""
    low = {"training__epochs": 12, "detection__crop_share": 1.0, "detection__score_threshold": 0.0, "detection__shown_score": 0.2}
    return tiny_boxes(model__options={"at": "body.2"}, **low, **changes)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Result:
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "ROUNDS", 3)
        return compare(recipe(), vary=VARY, seeds=2, out=tmp_path_factory.mktemp("runs"), progress=False)


def test_detectors_are_compared_by_average_precision(compared: Result) -> None:
    plain, se = compared.variants
    assert (compared.primary.name, plain.label, se.label) == ("ap", "plain", "SE")
    assert se.cost.params > plain.cost.params
    assert set(compared.tables["SE"][0]) == {"class", "size", "position"}
    assert [list(panel.classes) for panel in se.excitations] == [[0, 1]]
    assert Result.read(compared.json or "").variants == compared.variants


def test_single_images_show_what_each_detector_finds(compared: Result) -> None:
    cases = compared.cases
    assert cases is not None
    assert cases.ranked == 3, "the third image has no objects, the fourth nothing but a crowd"
    assert [case.rank for case in cases.images] == ["best", "median", "worst"]
    for case in cases.images:
        assert case.score == pytest.approx(fmean(variant.score for variant in case.variants), abs=1e-9)
        assert [picture.name for picture in case.pictures] == ["image", "truth"]
        plain, se = ([picture.name for picture in variant.pictures] for variant in case.variants)
        assert plain[0] == se[0] == "boxes"
        assert "gained" not in plain[1]
        assert "gained" in se[1]
        assert case.note == "boxes with a score of 0.2 or more"
    assert compared.json is not None
    assert all(file.read(compared.json.parent) for file in cases.files)
    assert {"red (r)", "blue (b)"} <= cases.legend.keys()
    page = Path(compared.page or "").read_text(encoding="utf-8")
    assert page.count('src="data:image/webp;base64,') == len(cases.files) == 3 * (2 + 2 * 2)


def test_curves_are_those_of_the_best_weights_of_each_run(compared: Result) -> None:
    for variant in compared.variants:
        for run in variant.runs:
            assert list(run.curves) == ["IoU 0.5", "IoU 0.75"]
            again = evaluate(Path(run.folder) / "best.safetensors", recipe().data)
            assert run.curves == again.curves
            chart = run.curves["IoU 0.5"]
            assert list(chart.lines) == ["all classes", *CLASSES]
            assert fmean(chart.lines["all classes"]) == pytest.approx(again.metrics["ap50"], abs=1e-9)
            assert (chart.at[0], chart.at[-1], len(chart.at)) == (0, 100, 101)
    assert max(max(run.curves["IoU 0.5"].lines["all classes"]) for variant in compared.variants for run in variant.runs) > 5


def test_the_page_draws_curves_of_all_classes_and_of_each(compared: Result) -> None:
    charts = task_charts(compared)
    assert [chart.heading for chart in charts] == ["Precision over recall, IoU 0.5", "Precision over recall, IoU 0.75"]
    assert [len(chart.parts) for chart in charts] == [2, 2]
    page = Path(compared.page or "").read_text(encoding="utf-8")
    assert page == render(Result.read(compared.json or ""))
    for chart in charts:
        assert chart.heading in page
        for drawing in (chart.chart, *chart.parts):
            assert str(drawing) in page
            assert str(drawing).count('class="curve s') == str(drawing).count('class="band s') == 2


def test_a_result_without_curves_is_read_and_has_no_section(compared: Result, tmp_path: Path) -> None:
    tree = compared.to_dict()
    for variant in tree["variants"]:
        for run in variant["runs"]:
            del run["curves"]
    (tmp_path / "result.json").write_text(json.dumps(tree))
    old = Result.read(tmp_path / "result.json")
    assert [run.curves for variant in old.variants for run in variant.runs] == [{}] * 4
    assert 'id="curves"' not in render(old)
    assert task_charts(old) == []


def test_runs_whose_curves_differ_in_kind_are_not_drawn(compared: Result) -> None:
    first, *others = compared.variants
    runs = (replace(first.runs[0], curves={"IoU 0.5": first.runs[0].curves["IoU 0.5"]}), *first.runs[1:])
    charts = task_charts(replace(compared, variants=(replace(first, runs=runs), *others)))
    assert [chart.heading for chart in charts] == ["Precision over recall, IoU 0.5"]


def test_damaged_curves_are_refused(compared: Result, tmp_path: Path) -> None:
    tree = compared.to_dict()
    tree["variants"][1]["runs"][0]["curves"]["IoU 0.5"]["lines"]["red"].pop()
    (tmp_path / "result.json").write_text(json.dumps(tree))
    with pytest.raises(UsageError, match="the curve 'red' has 100 values at 101 places"):
        Result.read(tmp_path / "result.json")


def test_finished_runs_are_used_again_and_the_command_prints_all(
    compared: Result, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(measure, "ROUNDS", 3)
    assert compared.json is not None
    (tmp_path / "rectangles.yaml").write_text(recipe().to_yaml())
    before = {path: path.stat().st_mtime_ns for path in compared.json.parent.glob("*/metrics.csv")}
    given = ["--seeds", "2", "--vary", "block=none,se", "--out", str(compared.json.parent.parent)]
    code = ["--allow-code", str(Path(recipe().data.name.rpartition(":")[0]).parent)]
    assert main(["compare", str(tmp_path / "rectangles.yaml"), *given, *code, "--json"]) == 0
    tree = json.loads(capsys.readouterr().out)
    assert {path: path.stat().st_mtime_ns for path in compared.json.parent.glob("*/metrics.csv")} == before
    old = json.loads(json.dumps(compared.to_dict()))
    for ours, theirs in zip(tree["variants"], old["variants"], strict=True):
        assert ours["runs"] == theirs["runs"]
        assert ours["metrics"] == theirs["metrics"]
    assert tree["cases"] == old["cases"]


@pytest.mark.slow
def test_two_processes_reach_the_figures_of_one(compared: Result, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(measure, "ROUNDS", 3)
    two = compare(recipe(), vary=VARY, seeds=2, jobs=2, out=tmp_path, report=False, progress=False)
    for ours, theirs in zip(two.variants, compared.variants, strict=True):
        assert [(run.history, run.tables, run.curves) for run in ours.runs] == [
            (run.history, run.tables, run.curves) for run in theirs.runs
        ]
    assert two.cases is not None
    assert compared.cases is not None
    assert [case.score for case in two.cases.images] == [case.score for case in compared.cases.images]
