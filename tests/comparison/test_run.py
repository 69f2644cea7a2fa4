"""Whole comparisons of the smallest kind: real digits, one or two epochs."""

import json
import shutil
from pathlib import Path

import pytest

import senet.comparison.measure as measure
from senet.comparison import compare
from senet.comparison.run import NotFiniteError, check_finite
from senet.errors import UsageError
from senet.recipe import Recipe, load_recipe, override
from senet.results.comparison import SeedRun
from senet.results.metric import ACCURACIES
from senet.results.run_folder import RunFolder


@pytest.fixture(autouse=True)
def quick_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "ROUNDS", 3)


@pytest.fixture
def recipe() -> Recipe:
    return override(load_recipe("digits"), {"training.epochs": 1, "data.batch_size": 256})


def stamps(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("best.safetensors")}


def test_comparison_trains_measures_and_writes(recipe: Recipe, tmp_path: Path) -> None:
    result = compare(recipe, seeds=2, out=tmp_path, progress=False)
    folder = tmp_path / "compare-digits"
    assert (result.json, result.page) == (folder / "result.json", folder / "report.html")
    assert sorted(path.name[:8] for path in folder.iterdir() if path.is_dir()) == ["plain-se", "plain-se", "se-seed0", "se-seed1"]

    plain, se = result.variants
    for variant in result.variants:
        for one in variant.runs:
            assert one.last("val_top1") == pytest.approx(RunFolder(Path(one.folder)).result().final["val_top1"])
            assert one.history.keys() == {"train_loss", "train_top1", "val_loss", "val_top1", "val_top5"}
    assert result.differences["SE"].by_seed == tuple(a - b for a, b in zip(se.last("val_top1"), plain.last("val_top1"), strict=True))
    assert se.cost.params > plain.cost.params
    assert se.cost.macs > plain.cost.macs
    assert plain.cost.latency_ratio.median == 1 == plain.cost.step_ratio.median
    assert plain.excitations == ()
    assert [panel.name for panel in se.excitations] == ["SE_1_3", "SE_2_3", "SE_3_1", "SE_3_2", "SE_3_3"]
    assert (result.data.train_images, result.data.val_images, result.data.input_size) == (1201, 596, (1, 1, 8, 8))
    assert {"date", "device", "torch", "senet"} <= result.environment.keys()
    assert result.json is not None
    assert result.page is not None
    assert json.loads(result.json.read_text())["summary"] == result.summary
    assert result.summary.split(".")[0] in result.page.read_text()


def test_what_is_done_is_used_what_is_missing_is_trained_and_an_ablation_shares_the_runs(recipe: Recipe, tmp_path: Path) -> None:
    first = compare(recipe, seeds=1, out=tmp_path, report=False, progress=False)
    assert first.page is None
    done = stamps(tmp_path)
    shutil.rmtree(first.variants[1].runs[0].folder)
    second = compare(recipe, seeds=1, out=tmp_path, report=False, progress=False)
    assert [stamps(tmp_path)[path] == stamp for path, stamp in done.items() if "plain" in path] == [True]
    assert second.variants[1].runs == first.variants[1].runs  # trained again to the same numbers

    done = stamps(tmp_path)
    result = compare(recipe, vary={"reduction": [4, 8]}, seeds=1, out=tmp_path, progress=False)
    assert [variant.label for variant in result.variants] == ["plain", "SE, reduction 4", "SE, reduction 8"]
    assert result.page == tmp_path / "compare-digits" / "report-reduction.html"
    assert len(stamps(tmp_path)) == 4  # one plain, three SE
    assert done.items() <= stamps(tmp_path).items()


@pytest.mark.parametrize(
    ("vary", "seeds", "message"),
    [
        ({"block": ["none", "see"]}, 1, "variant 'see': unknown block 'see' .did you mean 'se'"),
        ({"placement": ["standard", "behind"]}, 1, "placement.*behind"),
        ({"model.name": ["cifar_resnet20", "cifar_resnet21"]}, 1, "unknown model 'cifar_resnet21'"),
        ({"data.num_classes": [10, 11]}, 1, "num_classes is 11"),
        (None, 0, "seeds must be an integer of at least 1"),
    ],
)
def test_what_cannot_work_fails_before_anything_is_trained(recipe: Recipe, tmp_path: Path, vary: dict, seeds: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        compare(recipe, vary=vary, seeds=seeds, out=tmp_path, progress=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", [{}, {"jobs": 2}, {"cluster": "ray"}], ids=["in turn", "jobs", "ray"])
def test_processes_of_a_launcher_are_refused_before_anything_is_written(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: dict
) -> None:
    monkeypatch.setattr("senet.comparison.on_ray.find_spec", lambda name: True)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="each in one process, and a launcher such as torchrun has started 2"):
        compare(recipe, out=tmp_path, progress=False, **how)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("column", "value", "title"),
    [("val_top1", float("nan"), "top-1"), ("val_top5", float("inf"), "top-5"), ("val_loss", float("nan"), "validation loss")],
)
def test_a_run_that_ends_without_a_finite_figure_is_named(column: str, value: float, title: str) -> None:
    fine = {"val_top1": (float("nan"), 50.0), "val_top5": (1.0, 90.0), "val_loss": (2.0, 1.0)}
    runs = {"plain": [SeedRun(0, "runs/plain", fine)], "SE": [SeedRun(0, "runs/se", fine | {column: (1.0, value)})]}
    check_finite({"plain": runs["plain"]}, ACCURACIES)
    with pytest.raises(NotFiniteError, match=rf"{title} of runs/se is {value} after the last epoch.*{column} of its metrics.csv"):
        check_finite(runs, ACCURACIES)
