"""Segmentation through the seam: trained, resumed, evaluated at several sizes, predicted, in several processes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from made_runs import assert_same_run, train_by_two, train_until
from senet.data.batch import Batch
from senet.data.loaders import eval_loader
from senet.errors import UsageError
from senet.recipe import DataRecipe, SegmentationRecipe, VolumeRecipe, load_recipe
from senet.results.run_folder import RunFolder
from senet.tasks.answers import classes_of
from senet.tasks.registry import open_task
from senet.tasks.segmentation.task import Segmentation
from senet.training.evaluate import evaluate
from senet.training.loop import train
from senet.training.predict import predict
from tasks.segmentation.made_masks import discs, source, tiny_masks


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("discs") / "run"
    torch.set_num_threads(1)
    train(tiny_masks(), folder=folder, progress=False)
    return folder


class Local(nn.Module):
    """Network of one linear map a pixel."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Conv2d(1, classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x)


def test_images_with_a_class_each_are_for_classification():
    with pytest.raises(UsageError, match=r"data.name 'digits' gives each image a class.*data.name is one of .*masks"):
        Segmentation(SegmentationRecipe()).open(DataRecipe(name="digits"))


def test_training_logs_losses_and_metrics_of_images_of_several_sizes(run):
    rows = RunFolder(run).metrics()
    assert len(rows) == 3
    for name in ("train_loss", "train_ce_loss", "train_dice_loss", "val_loss", "val_dice", "val_iou", "val_global_dice", "val_boundary_f"):
        assert all(np.isfinite(row[name]) for row in rows), name
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]


def test_a_resumed_run_is_the_same(run, tmp_path):
    train_until(4, tiny_masks(), tmp_path / "run")
    train(resume=tmp_path / "run", progress=False)
    assert_same_run(tmp_path / "run", run)


def test_samples_do_not_depend_on_the_number_of_workers(run, tmp_path):
    train(tiny_masks(data__workers=2), folder=tmp_path / "run", progress=False)
    assert_same_run(tmp_path / "run", run)


@pytest.mark.slow
def test_two_processes_judge_as_one(run, tmp_path):
    recipe = tiny_masks(training__freeze_bn_epochs=3, optim__lr=0.01)
    (tmp_path / "discs.yaml").write_text(recipe.to_yaml())
    words = ["discs.yaml", "--data.name", recipe.data.name, "--folder", "two", "--json"]
    train_by_two(words, tmp_path)
    train(recipe, folder=tmp_path / "one", progress=False)
    for row, other in zip(RunFolder(tmp_path / "one").metrics(), RunFolder(tmp_path / "two").metrics(), strict=True):
        for name in ("val_loss", "val_dice", "val_iou", "val_global_dice", "val_boundary_f"):
            assert row[name] == pytest.approx(other[name], rel=0.02), name


def test_weights_are_evaluated_as_they_were_trained(run):
    rows = RunFolder(run).metrics()
    recipe = tiny_masks()
    found = evaluate(run / "best.safetensors", recipe.data)
    best = max(row["val_dice"] for row in rows)
    assert found.metrics["dice"] == pytest.approx(best, abs=1e-6)
    assert found.images == 5


def test_batches_of_several_sizes_are_judged_as_single_images():
    recipe, task = tiny_masks(), Segmentation(SegmentationRecipe())
    made = source(recipe.data)
    model = Local().eval()
    metrics = []
    for size in (1, 5):
        evaluator = task.evaluator(made, torch.device("cpu"))
        with torch.inference_mode():
            for batch in eval_loader(made, tiny_masks(data__batch_size=size).data, task):
                evaluator.update(task.average([model], batch.images), batch)
        metrics.append(evaluator.compute())
    assert metrics[0] == pytest.approx(metrics[1], abs=1e-6)


def test_networks_windows_and_flips_are_averaged_as_probabilities():
    images = torch.randn(2, 1, 12, 10, generator=torch.Generator().manual_seed(0))
    first, second = Local(), nn.Sequential(nn.Conv2d(1, 3, 3, padding=1))
    with torch.inference_mode():
        logs = Segmentation(SegmentationRecipe()).average([first, second], images)
        wanted = (first(images).softmax(1) + second(images).softmax(1)) / 2
        torch.testing.assert_close(logs.exp(), wanted)
        flipped = Segmentation(SegmentationRecipe(flips=True)).average([second], images)
        views = [second(images.flip(axes)).softmax(1).flip(axes) for axes in ((), (2,), (3,), (2, 3))]
        torch.testing.assert_close(flipped.exp(), torch.stack(views).mean(0))
        local = [Segmentation(SegmentationRecipe(window=window)).average([first], images) for window in (5, None)]
        torch.testing.assert_close(*local)
        mixed = Segmentation(SegmentationRecipe()).average([first], [images[0], images[1, :, :7], images[1]])
        assert [tuple(one.shape) for one in mixed] == [(3, 12, 10), (3, 7, 10), (3, 12, 10)]
        torch.testing.assert_close(mixed[2], local[1][1])


@pytest.mark.parametrize(("window", "seen"), [(None, (6, 6, 6)), ((9, 9), (6, 6, 6)), (8, (8, 8, 8)), ((4, 5, 8), (4, 5, 8))])
def test_volumes_are_predicted_in_patches_unless_a_window_of_volumes_is_asked_for(window, seen):
    network, shapes = nn.Conv3d(1, 2, 1), []
    network.register_forward_pre_hook(lambda _, inputs: shapes.append(tuple(inputs[0].shape[2:])))
    task = Segmentation(SegmentationRecipe(window=window), VolumeRecipe(patch=(6, 6, 6)))
    with torch.inference_mode():
        task.average([network], torch.zeros(1, 1, 8, 9, 10))
    assert set(shapes) == {seen}


def test_a_mask_is_predicted_of_an_image_of_any_size(run, tmp_path):
    Image.fromarray(discs(((31, 22),), 5).images[0]).save(tmp_path / "image.png")
    (found,) = predict(run, [tmp_path / "image.png"])
    assert found.prediction.mask.shape == (31, 22)
    assert sum(found.to_dict()["pixels"].values()) == 31 * 22


def test_noise_is_trained_on_as_images_are():
    recipe = tiny_masks()
    task, made = open_task(recipe), source(recipe.data)
    batch = task.noise(made, 3)
    assert task.loss(Local()(batch.images), batch.targets)["loss"].isfinite()
    assert isinstance(batch, Batch)


def test_an_image_holds_its_pixels_of_each_class():
    task = Segmentation(SegmentationRecipe())
    masks = [torch.tensor([[0, 3, 3], [255, 0, 0]], dtype=torch.uint8), torch.tensor([[1, 255]], dtype=torch.uint8)]
    images = [torch.zeros(3, *mask.shape) for mask in masks]
    assert classes_of(task, Batch(images, masks, [])).tolist() == [[3, 0, 0, 2], [0, 1, 0, 0]]
    ignored = torch.full((2, 4, 5, 6), 255, dtype=torch.uint8)
    assert task.image_classes(Batch(torch.zeros(2, 1, 4, 5, 6), ignored, [])).shape == (2, 0)


def test_a_network_without_a_map_is_refused():
    with pytest.raises(UsageError, match="a map of its input's size"):
        Segmentation(SegmentationRecipe()).loss(torch.zeros(2, 3, 4, 4), torch.zeros(2, 8, 8, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("files", "hint"),
    [
        (("imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz"), "it holds volumes: --data.name volumes$"),
        (("annotations/instances_train2017.json",), "it holds coco_semantic: --data.name coco_semantic$"),
        (
            ("train/cat/0.png", "val/cat/1.png"),
            "it looks like class folders, which a recipe of classification takes: senet train imagenet_",
        ),
        (("images/0.png",), "it has: images$"),
    ],
)
def test_a_folder_of_something_else_is_recognised(tmp_path, files, hint):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    with pytest.raises(UsageError, match=rf"no images with masks are recognised; .*{hint}"):
        train(load_recipe("segmentation", {"data.root": str(tmp_path)}), folder=tmp_path / "run", progress=False)


def test_one_class_is_refused(tmp_path):
    (tmp_path / "one.py").write_text(
        "from dataclasses import replace\nfrom tasks.segmentation.made_masks import source\n"
        "def one(recipe):\n    return replace(source(recipe), classes=('cell',))\n"
    )
    with pytest.raises(UsageError, match="two classes or more, background being one"):
        train(tiny_masks(data__name=f"{tmp_path}/one.py:one"), folder=tmp_path / "run", progress=False)


def test_class_weights_follow_from_the_masks():
    made = source(tiny_masks().data)
    counts = np.bincount(np.concatenate([mask.ravel() for mask in made.train.targets]), minlength=256)[:3]
    task = Segmentation(SegmentationRecipe(loss="ce", class_weights="ai_med"))
    task.build(tiny_masks().model, made)
    logits, masks = torch.randn(1, 3, 24, 24, dtype=torch.float64), torch.from_numpy(made.train.targets[0])[None]
    weights = torch.from_numpy(np.median(counts) // counts)
    wanted = nn.functional.cross_entropy(logits, masks.long(), weights, ignore_index=255)
    torch.testing.assert_close(task.loss(logits, masks)["loss"], wanted)
    with pytest.raises(UsageError, match="2 numbers, and discs has 3 classes"):
        Segmentation(SegmentationRecipe(class_weights=(1.0, 2.0))).build(tiny_masks().model, made)
