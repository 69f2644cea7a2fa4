"""Networks train on NIfTI volumes, as slices and as patches, and what they predict of a volume lies where the volume does."""

import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest

import senet
from data.volumes.made_volumes import SHAPE, write_case
from made_runs import assert_same_run, train_by_two, train_until
from senet.cli.main import main
from senet.recipe import load_recipe
from senet.results.run_folder import RunFolder
from senet.spec import InputSpec
from senet.training.evaluate import evaluate
from senet.training.loop import train
from senet.training.predict import predict

SMALL = {"data.num_classes": None, "data.image_size": 32, "data.workers": 0, "model.options.width": 4, "model.options.kernel": 3}
SHORT = {"training.epochs": 1, "data.volumes.spacing": None, "data.volumes.val": ["case1", "case2"]}
PATCHES = {"model.name": "scse_unet3d", "model.options.depth": 2, "data.volumes.patch": [8, 8, 8], "data.volumes.patches": 2}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for number in range(4):
        write_case(tmp_path / "data", number)
    return tmp_path / "data"


def dice(truth: np.ndarray, found: np.ndarray, index: int) -> float:
    return 100 * 2 * ((truth == index) & (found == index)).sum() / ((truth == index).sum() + (found == index).sum())


@pytest.mark.parametrize("changes", [{}, {"data.volumes.slices": 3}, PATCHES], ids=["slices", "neighbours", "patches"])
def test_a_recipe_trains_and_its_predictions_are_what_was_judged(changes: dict, folder: Path, tmp_path: Path) -> None:
    recipe = load_recipe("malc", {"data.root": str(folder), **SMALL, **SHORT, **changes})
    run = tmp_path / "run"
    train(recipe, folder=run, progress=False)
    (row,) = RunFolder(run).metrics()
    found = evaluate(run, recipe.data)
    assert found.metrics["volume_dice"] == pytest.approx(row["val_volume_dice"], abs=1e-3)
    predictions = {
        Path(one.image).name: one.prediction for one in predict(run, [folder / "images" / f"case{number}.nii.gz" for number in (1, 2)])
    }
    means = []
    for number in (1, 2):
        truth = np.asanyarray(nibabel.load(folder / "labels" / f"case{number}.nii.gz").dataobj)
        labels = predictions[f"case{number}.nii.gz"].labels
        assert labels.shape == SHAPE
        by_class = [dice(truth, labels, index) for index in (1, 2)]
        told = found.tables["volume"][f"case{number}"]
        assert [told["dice 1"], told["dice 2"]] == pytest.approx(by_class, abs=1e-9)
        means.append(np.mean(by_class))
    assert found.metrics["volume_dice"] == pytest.approx(np.mean(means), abs=1e-9)


MOVED = {
    "data.rotation": 20,
    "segmentation.zoom": [0.8, 1.25],
    "segmentation.elastic": 1,
    "segmentation.elastic_grid": 4,
    "data.flip": True,
}


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_run_on_moved_patches_is_the_same(workers: int, folder: Path, tmp_path: Path) -> None:
    changes = {**SMALL, **SHORT, **PATCHES, **MOVED, "data.batch_size": 1, "data.workers": workers, "training.epochs": 2}
    recipe = load_recipe("malc", {"data.root": str(folder), **changes})

    train(recipe, folder=tmp_path / "whole", progress=False)
    train_until(5, recipe, tmp_path / "run")
    shutil.rmtree(tmp_path / "cache")  # prepared anew, the volumes are what they were
    train(resume=tmp_path / "run", progress=False)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, PATCHES | MOVED], ids=["slices", "patches"])
def test_two_processes_judge_volumes_as_one(changes: dict, folder: Path, tmp_path: Path) -> None:
    recipe = load_recipe("malc", {"data.root": str(folder), **SMALL, **SHORT, **changes, "data.volumes.val": ["case1", "case2", "case3"]})
    (tmp_path / "volumes.yaml").write_text(recipe.to_yaml())
    train_by_two(["volumes.yaml", "--folder", "two"], tmp_path)
    (row,) = RunFolder(tmp_path / "two").metrics()
    found = evaluate(tmp_path / "two", recipe.data)
    for name in ("dice", "iou", "global_dice", "volume_dice"):  # sums of whole voxels, whoever saw which slice
        assert row[f"val_{name}"] == pytest.approx(found.metrics[name], abs=1e-6), name  # rows are rounded
    assert row["val_loss"] == pytest.approx(found.metrics["loss"], rel=1e-5)


def test_predictions_of_resampled_volumes_are_written_on_the_grid_of_their_files(folder: Path, tmp_path: Path, capsys) -> None:
    recipe = load_recipe("malc", {"data.root": str(folder), **SMALL, **SHORT, "data.volumes.spacing": [1.5, 1.5, 1.5]})
    train(recipe, folder=tmp_path / "run", progress=False)
    (folder / "images" / "broken.nii.gz").write_bytes(b"nothing")
    words = ["predict", str(folder / "images"), "--weights", str(tmp_path / "run"), "--out", str(tmp_path / "out"), "--json"]
    assert main([*words, "--overlay", str(tmp_path / "shown"), "--gates", str(tmp_path / "gates")]) == 1
    told, error = capsys.readouterr()
    assert "broken.nii.gz is no NIfTI file" in error
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"case{number}.nii.gz" for number in range(4)]
    assert sorted(path.name for path in (tmp_path / "shown").iterdir()) == [f"case{number}.png" for number in range(4)]
    assert sorted(path.name for path in (tmp_path / "gates").iterdir()) == [f"case{number}.png" for number in range(4)]
    for entry in json.loads(told)["predictions"]:
        if entry["error"] is None:
            source, written = nibabel.load(entry["image"]), nibabel.load(entry["files"]["out"])
            assert np.array_equal(source.affine, written.affine)
            assert written.get_data_dtype() == source.get_data_dtype()
            labels = np.asanyarray(written.dataobj)
            assert labels.shape == SHAPE
            assert list(entry["voxels"].values()) == np.bincount(labels.ravel(), minlength=3).tolist()
            assert sum(entry["millilitres"].values()) == pytest.approx(labels.size * 6 / 1000, rel=1e-5)


def test_weights_of_images_predict_no_volumes(folder: Path, tmp_path: Path, capsys) -> None:
    network = senet.create_model("scse_unet", num_classes=2, in_channels=1, width=4)
    senet.save_weights(network, tmp_path / "a.safetensors", input=InputSpec(32, 32, 1, (0.5,), (0.5,)), recipe={"task": "segmentation"})
    assert main(["predict", str(folder / "images" / "case1.nii.gz"), "--weights", str(tmp_path / "a.safetensors")]) == 2
    assert "were not trained on volumes" in capsys.readouterr().err
