"""Evaluation against counting by hand: views, scales, ensembles, what does not belong together."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from senet.data.loaders import DataError
from senet.data.source import DataSource, open_data
from senet.data.transforms import eval_transform
from senet.errors import UsageError
from senet.models.create import create_model
from senet.recipe import DataRecipe
from senet.results.metric import Metric
from senet.training.batchnorm import freeze_batchnorm
from senet.training.evaluate import Evaluation, evaluate
from senet.weights.store import save_weights

DIGITS = DataRecipe(name="digits", batch_size=100)


@pytest.fixture(scope="module")
def source() -> DataSource:
    return open_data(DIGITS)


def network(seed: int, classes: int = 10, channels: int = 1) -> nn.Module:
    torch.manual_seed(seed)
    model = create_model("se_cifar_resnet20", num_classes=classes, in_channels=channels)
    for module in model.modules():  # as if trained: else all logits are alike
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
    return model


def by_hand(source: DataSource, probabilities: Callable[[int], Tensor]) -> dict[str, float]:
    """Return top-1, top-5 and loss, image by image."""
    top1 = top5 = loss = 0.0
    for index, label in enumerate(source.val.targets):
        found = probabilities(index)
        order = found.argsort(descending=True).tolist()
        top1 += order[0] == label
        top5 += label in order[:5]
        loss -= found[label].log().item()
    count = len(source.val)
    return {"top1": 100 * top1 / count, "top5": 100 * top5 / count, "loss": loss / count}


def approximately(wanted: dict[str, float]) -> object:
    return pytest.approx(wanted, rel=1e-5)


@torch.inference_mode()
def test_centre_crop_of_one_network(source: DataSource) -> None:
    model = network(0).eval()
    transform = eval_transform(source.input)
    found = evaluate(model, source)
    wanted = by_hand(source, lambda index: model(transform(source.val.read(index))[None]).softmax(1)[0])
    assert found.metrics == approximately(wanted)
    assert (found.images, found.corrupt) == (len(source.val), ())


@torch.inference_mode()
def test_ten_crops_at_two_scales_of_two_networks_are_one_average(source: DataSource) -> None:
    source = replace(source, val=source.val.__class__("few", source.val.pixels[:40], source.val.targets[:40]))
    models = [network(seed).eval() for seed in (0, 1)]
    transforms = [eval_transform(replace(source.input, size=8, resize=side), "ten") for side in (10, 12)]

    def probabilities(index: int) -> Tensor:
        image = source.val.read(index)
        views = [transform(image) for transform in transforms]
        return torch.cat([model(view).softmax(1) for model in models for view in views]).mean(0)

    found = evaluate(models, source, crops="ten", scales=(10, 12))
    assert found.metrics == approximately(by_hand(source, probabilities))


def test_any_resolution_keeps_the_share_of_the_image(shared_data: Path, tmp_path: Path) -> None:
    folder_of_photographs(shared_data, tmp_path)
    recipe = DataRecipe(name="folder", root=str(tmp_path), image_size=32, eval_resize=40, batch_size=4, workers=0)
    model = network(0, classes=2, channels=3)
    source = open_data(recipe)
    transform = eval_transform(replace(source.input, size=64, resize=80))
    with torch.inference_mode():
        wanted = by_hand(source, lambda index: model.eval()(transform(source.val.read(index))[None]).softmax(1)[0])
    found = evaluate(model, recipe, size=64)
    assert found.metrics == approximately(wanted)


def folder_of_photographs(shared_data: Path, root: Path) -> list[Path]:
    files = sorted((shared_data / "imagenet1k_sample" / "images").iterdir())[:8]
    for number, file in enumerate(files):
        folder = root / ("train" if number < 4 else "val") / f"class{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file.name).write_bytes(file.read_bytes())
    return sorted((root / "val").rglob("*.*"))


def test_an_unreadable_image_is_left_out_and_named(shared_data: Path, tmp_path: Path) -> None:
    broken = folder_of_photographs(shared_data, tmp_path)[0]
    broken.write_bytes(broken.read_bytes()[:200])
    recipe = DataRecipe(name="folder", root=str(tmp_path), image_size=32, batch_size=1, workers=0, max_corrupt=0.3)
    found = evaluate(network(0, classes=2, channels=3), recipe)
    assert found.images == 3
    assert found.corrupt == (str(broken.relative_to(tmp_path)),)
    assert broken.name in found.table().caption
    with pytest.raises(DataError, match="1 of 4 images cannot be read"):
        evaluate(network(0, classes=2, channels=3), replace(recipe, max_corrupt=0.1))


def test_files_and_networks_give_the_same_and_a_file_brings_its_own_normalisation(source: DataSource, tmp_path: Path) -> None:
    own = replace(source.input, mean=(0.5,), std=(0.5,))
    save_weights(network(0), tmp_path / "best.safetensors", classes=source.classes, input=own)
    from_file = evaluate(tmp_path / "best.safetensors", source)
    assert from_file == evaluate(tmp_path, source) == evaluate(network(0), replace(source, input=own))
    assert from_file != evaluate(network(0), source)


def test_the_network_is_left_as_it_was(source: DataSource) -> None:
    model = network(0).train()
    freeze_batchnorm(model)
    modes = {name: module.training for name, module in model.named_modules()}
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    evaluate(model, source)
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert set(modes.values()) == {True, False}
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_what_does_not_belong_together_is_one_line(source: DataSource, tmp_path: Path) -> None:
    first, second, third = (tmp_path / f"{name}.safetensors" for name in ("first", "second", "third"))
    save_weights(network(0), first, classes=source.classes, input=source.input)
    save_weights(network(0), second, classes=source.classes, input=replace(source.input, size=16, resize=16))
    save_weights(network(0), third, classes="abcdefghij", input=source.input)
    for models, options, message in (
        ([first, second], {}, "expect different images"),
        (third, {}, r"knows the classes a, b, c, \.\.\. \(10\), but 0, 1, 2, \.\.\. \(10\) were expected"),
        ([], {}, "at least one network"),
        (first, {"crops": "five"}, "unknown crops 'five'"),
        (first, {"scales": (4,)}, "scale 4 is below the crop's size 8"),
        (tmp_path / "nothing.safetensors", {}, "does not exist"),
    ):
        with pytest.raises(UsageError, match=message):
            evaluate(models, source, **options)


def test_the_result_is_plain_data(source: DataSource) -> None:
    found = evaluate(network(0), source)
    assert found.to_dict() == {**found.metrics, "images": len(source.val), "corrupt": []}
    assert list(found.table().columns[1].cells) == [f"{found.metrics['top1']:.2f}"]


@pytest.mark.parametrize(("count", "below"), [(8, False), (9, True)])
def test_many_figures_stand_below_each_other(count: int, below: bool) -> None:
    about = tuple(Metric(f"m{place}", f"M{place}", "%") for place in range(count))
    found = Evaluation({metric.name: 1.5 for metric in about} | {"loss": 0.25}, 7, (), about).table()
    headings = [str(column.header) for column in found.columns]
    names = ["images", *(f"M{place} %" for place in range(count)), "loss"]
    if below:
        assert headings == ["metric", "value"]
        assert [list(column.cells) for column in found.columns] == [names, ["7", *["1.50"] * count, "0.2500"]]
    else:
        assert headings == names
        assert found.row_count == 1
