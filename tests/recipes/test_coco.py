"""The recipes of COCO: their numbers are those of the papers and of Detectron, and they train, in one process and in two."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import senet
from made_runs import train_by_two
from senet.comparison.variants import expand, parse_vary
from senet.data.samplers import EpochSampler
from senet.models.create import model_from_recipe
from senet.recipe import load_recipe, read_recipe_text
from senet.results.run_folder import RunFolder
from senet.training.evaluate import evaluate
from senet.training.loop import train
from senet.training.schedule import Schedule
from tasks.detection.made_coco_boxes import write_coco_boxes

NECKS = {"coco_faster_rcnn_2x": "fpn", "coco_faster_rcnn_c4": "c4"}
RATES = {  # learning rate at some steps
    "coco_faster_rcnn_2x": {0: 0.02 / 3, 250: 0.02 * 2 / 3, 500: 0.02, 119_999: 0.02, 120_000: 0.002, 159_999: 0.002, 160_000: 0.0002},
    "coco_faster_rcnn_c4": {0: 0.001, 239_999: 0.001, 240_000: 0.0001},
}
LENGTHS = {"coco_faster_rcnn_2x": (16, 180_000), "coco_faster_rcnn_c4": (8, 320_000)}
"""Images in a step, and steps."""
IMAGES = {"coco_faster_rcnn_2x": 118_287, "coco_faster_rcnn_c4": 82_783}
PAPER = {"coco_faster_rcnn_2x": "38.0 -> 40.4 AP (57.9 -> 61.0 AP50)", "coco_faster_rcnn_c4": "25.1 -> 26.4 AP (45.2 -> 46.8 AP50)"}
SMALL = {
    "data.batch_size": 2,
    "data.min_steps": 3,
    "data.workers": 0,
    "schedule.warmup_steps": 2,
    "training.epochs": 1,
    "detection.shorter_sides": [48],
}


def small_options(weights: Path, neck: str, **more) -> dict:
    few = {"proposals_train": 20, "proposals_test": 10, "regions": 8, **({"fpn_channels": 8, "head_width": 8} if neck == "fpn" else {})}
    frozen = {"frozen_stages": 2, "frozen_bn": True, "frozen_blocks": True}
    return {"backbone": "cifar_resnet20", "backbone_weights": str(weights), "neck": neck, **frozen, **few, **more}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "backbone.safetensors"
    torch.manual_seed(0)
    senet.save_weights(senet.create_model("se_cifar_resnet20", reduction=16), path)
    return path


@pytest.mark.parametrize("name", NECKS)
def test_rates_change_at_the_steps_of_the_source(name):
    recipe = load_recipe(name)
    sampler = EpochSampler.of(range(IMAGES[name]), recipe.data, seed=0)
    schedule = Schedule(recipe.schedule, recipe.optim.lr, steps_per_epoch=len(sampler), epochs=recipe.training.epochs)
    assert (sampler.batch_size, schedule.total_steps) == LENGTHS[name]
    for step, rate in RATES[name].items():
        assert schedule.rate(step) == pytest.approx(rate, rel=1e-12), step


@pytest.mark.parametrize("name", NECKS)
def test_every_number_says_where_it_comes_from_and_the_line_what_the_paper_reached(name):
    lines = read_recipe_text(name).splitlines()
    values = [line for line in lines if not line.startswith("#") and any(character.isdigit() for character in line.partition(":")[2])]
    assert [line for line in values if not line.startswith(("base", "name", "about", "  num_classes")) and "#" not in line] == []
    assert PAPER[name] in load_recipe(name).about


def test_detectron_s_numbers():
    recipe = load_recipe("coco_faster_rcnn_2x")
    optim, plan, options = recipe.optim, recipe.detection, recipe.model.options
    assert (optim.momentum, optim.nesterov, optim.weight_decay, optim.decay_norm_and_bias) == (0.9, False, 1e-4, False)
    assert (plan.shorter_sides, plan.longest_side, plan.score_threshold, plan.max_detections) == ((800,), 1333, 0.05, 100)
    assert (recipe.data.flip, recipe.data.jitter, plan.crop_share, plan.photometric) == (True, 0, 1, 0)
    assert (options["frozen_stages"], options["frozen_bn"], options["neck"]) == (2, True, "fpn")
    model: Any = senet.create_model("faster_rcnn", num_classes=80, block="se", device="meta", neck="fpn")
    counts = model.counts
    assert (counts["proposals_train"], counts["proposals_test"], counts["regions"]) == (2000, 1000, 512)


@pytest.mark.parametrize(("name", "neck"), NECKS.items())
def test_a_recipe_trains(name, neck, weights, tmp_path):
    root = write_coco_boxes(tmp_path / "coco")
    recipe = load_recipe(name, {"data.root": str(root), **SMALL, "model.options": small_options(weights, neck)})
    train(recipe, folder=tmp_path / "run", progress=False)
    (row,) = RunFolder(tmp_path / "run").metrics()
    assert row["step"] == 3
    assert 0 < row["train_loss"] < 100
    assert 0 <= row["val_ap"] <= 100
    found = evaluate(tmp_path / "run", recipe.data)
    assert found.metrics["ap"] == pytest.approx(row["val_ap"], abs=1e-6)
    begun, trained = load_file(weights), load_file(tmp_path / "run" / "best.safetensors")
    of_backbone = {key.removeprefix("backbone.body."): tensor for key, tensor in trained.items() if key.startswith("backbone.body.")}
    assert set(of_backbone) == {key for key in begun if not key.startswith("fc.")}
    changed = {key for key, tensor in of_backbone.items() if not torch.equal(tensor, begun[key])}
    still = ("conv1.", "bn1.", "layer1.", "layer2.")  # the stages of this network are its layers
    assert not any(key.startswith(still) or ".bn" in key for key in changed)
    assert {key for key in of_backbone if key.endswith((".se.fc1.weight", ".conv1.weight")) and not key.startswith(still)} <= changed


@pytest.mark.slow
def test_two_processes_learn_from_the_images_of_both(weights, tmp_path):
    """Anchors without an object are sampled at random; all that have one are learnt, and biases of their boxes begin at 0."""
    root = write_coco_boxes(tmp_path / "coco")
    recipe = load_recipe("coco_faster_rcnn_2x", {"data.root": str(root), **SMALL, "model.options": small_options(weights, "fpn")})
    (tmp_path / "coco.yaml").write_text(recipe.to_yaml())
    train_by_two(["coco.yaml", "--folder", "two", "--json"], tmp_path)
    train(recipe, folder=tmp_path / "one", progress=False)
    one, two = (RunFolder(tmp_path / name) for name in ("one", "two"))
    assert two.metrics()[0]["step"] == 3
    learnt, together = (load_file(run.weights)["rpn.head.bbox_pred.bias"] for run in (one, two))
    assert (together - learnt).norm() < 0.01 * learnt.norm()


def test_arms_of_a_comparison_have_the_weights_of_their_own_network(weights, tmp_path):
    plain = tmp_path / "plain.safetensors"
    senet.save_weights(senet.create_model("cifar_resnet20"), plain)
    recipe = load_recipe("coco_faster_rcnn_2x", {"model.options": small_options(weights, "fpn")})
    arms = expand(recipe, dict([parse_vary(f"block+model.options.backbone_weights=[none,{plain}],[se,{weights}]")]))
    for arm, file in zip(arms, (plain, weights), strict=True):
        model = model_from_recipe(arm.recipe.model, num_classes=2, in_channels=3)
        body = model.get_submodule("backbone.body").state_dict()
        assert all(torch.equal(tensor, body[key]) for key, tensor in load_file(file).items() if not key.startswith("fc."))
