"""The recipes of fine-tuning: small trained networks go on with blocks that begin as the identity, on a few made images."""

import shlex
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pages import DOCS, examples, shell_lines
from senet import save_weights
from senet.blocks.kinds import is_block
from senet.cli.main import main
from senet.comparison import measure
from senet.measuring.numbers import mean_sd
from senet.models.create import create_model, from_pretrained, model_from_recipe
from senet.recipe import Recipe, load_recipe
from senet.results.comparison import Result
from senet.results.run_folder import RunFolder
from senet.results.tables import difference_words
from senet.training.loop import train
from tasks.detection import made_rectangles
from tasks.segmentation.test_recipes import written

SMALL = {"backbone": "cifar_resnet20", "fpn_channels": 8, "head_width": 8, "regions": 8, "proposals_train": 20, "proposals_test": 20}
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "finetune_classification": ("preresnet20", {}),
    "finetune_segmentation": ("unet", {"encoder": "cifar_resnet20", "widths": [8, 8, 8]}),
    "finetune_detection": ("faster_rcnn", SMALL),
}
SIZES = {"finetune_classification": {"data.image_size": 8, "data.eval_resize": None}, "finetune_segmentation": {"data.image_size": 32}}


def write_squares(root: Path) -> Path:
    """Write three images of each of two classes for training and one for validation."""
    random = np.random.default_rng(0)
    for name in ("one", "two"):
        for number in range(4):
            folder = root / ("val" if number == 3 else "train") / name
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 255, (9, 9, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return root


def data_of(name: str, root: Path) -> dict[str, Any]:
    if name == "finetune_detection":
        sides = {"detection.shorter_sides": [48], "detection.longest_side": 64}
        return {"data.name": f"{made_rectangles.__file__}:source", **sides}
    return {"data.root": str(write_squares(root) if name == "finetune_classification" else written(root, "masks"))}


def short(name: str, root: Path, weights: Path, **changes: Any) -> Recipe:
    """Return a recipe for one epoch of two steps of a small network."""
    network, options = NETWORKS[name]
    fields = {"model.name": network, "model.options": options, "model.weights": str(weights), "model.block": "se"}
    steps = {"data.workers": 0, "data.batch_size": 2, "data.min_steps": 2, "training.epochs": 1, "training.unfreeze.host": 0}
    named = {path.replace("__", "."): value for path, value in changes.items()}
    return load_recipe(name, fields | steps | SIZES.get(name, {}) | data_of(name, root) | named)


@pytest.fixture(params=NETWORKS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_a_trained_network_goes_on_with_blocks_and_its_weights_begin_another_run(name: str, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    network, options = NETWORKS[name]
    save_weights(create_model(network, num_classes=5, **options), tmp_path / "plain.safetensors")
    recipe = short(name, tmp_path / "data", tmp_path / "plain.safetensors")
    result = train(recipe, folder=tmp_path / "run", progress=False)
    assert result.weights is not None
    assert result.weights["source"] == str(tmp_path / "plain.safetensors")
    assert result.weights["fresh"], "a head for other classes is drawn anew"
    trained = from_pretrained(tmp_path / "run" / "best.safetensors")
    assert any(map(is_block, trained.modules()))

    again = short(name, tmp_path / "data2", tmp_path / "run", optim__lr=0.0)
    train(again, folder=tmp_path / "again", progress=False)
    begun = from_pretrained(tmp_path / "again" / "best.safetensors")
    assert all(torch.equal(one, other) for one, other in zip(trained.parameters(), begun.parameters(), strict=True))
    assert RunFolder(tmp_path / "again").is_finished()


def test_a_recipe_says_what_it_begins_from_and_how_fast_each_part_learns(name: str) -> None:
    recipe = load_recipe(name)
    said = recipe.model.weights or recipe.model.options["encoder_weights"]
    assert said.startswith("torchvision/")
    assert recipe.optim.groups.blocks > recipe.optim.groups.host
    assert recipe.model.init == "identity"
    if name != "finetune_segmentation":  # whose weights are the encoder's, which nothing is asked for here
        network = model_from_recipe(recipe.model, num_classes=2, in_channels=3, device="meta")
        assert not any(map(is_block, network.modules()))


PAGE = DOCS / "finetuning.md"
COMPARISON = "senet compare "


def follow(folder: Path, monkeypatch: pytest.MonkeyPatch, *, compared: bool) -> None:
    """Run the commands of the page in a folder, on the digits that it writes."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(measure, "ROUNDS", 3)
    torch.set_num_threads(1)
    exec(compile(examples(PAGE, "python")[0][1], PAGE.name, "exec"), {})
    for line in shell_lines(PAGE):
        if compared or not line.startswith(COMPARISON):
            assert main(shlex.split(line)[1:]) == 0, line


def test_the_page_trains_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    follow(tmp_path, monkeypatch, compared=False)
    assert RunFolder.at("runs/plain").metrics()[-1]["val_top1"] > 80
    rows = RunFolder.at("runs/se").metrics()
    assert rows[-1]["val_top1"] > 75 > rows[0]["val_top1"]
    assert RunFolder.at("runs/se").result().weights["source"] == "runs/plain/best.safetensors"  # pyright: ignore[reportOptionalSubscript]
    assert any(map(is_block, from_pretrained("runs/se/best.safetensors").modules()))


@pytest.mark.slow
def test_the_page_compares_the_three_arms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    follow(tmp_path, monkeypatch, compared=True)
    result = Result.read(Path("runs/compare-finetune_classification/result-host.json"))
    plain, blocks, frozen = (mean(variant.last("val_top1")) for variant in result.variants)
    assert blocks > plain - 3
    assert frozen < plain - 3


def test_the_figures_of_the_page_are_those_that_are_kept() -> None:
    kept = Path(__file__).parents[2] / "benchmarks/results/evidence/finetuning"
    result, text = Result.read(kept / "result.json"), PAGE.read_text()
    for variant in result.variants:
        assert mean_sd(variant.last(result.primary.column), result.primary.decimals) in text
    for difference in result.differences.values():
        assert difference_words(difference, result.primary) in text
