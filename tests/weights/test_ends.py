"""The two ends of a network: files without a head, networks without one, and images of other channels than the file's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from senet import create_model, from_pretrained, load_weights, save_weights
from senet.cli.main import main
from senet.errors import UsageError
from senet.models import foreign
from senet.models.create import config_of, model_from_recipe
from senet.recipe import ModelRecipe
from senet.spec import InputSpec
from senet.weights.bridge import Allowed, bridge
from senet.weights.store import metadata_of

INPUT = InputSpec(size=32, resize=36, channels=3, mean=(0.4, 0.5, 0.6), std=(0.1, 0.2, 0.3))


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    torch.manual_seed(0)
    return create_model("se_preresnet20").eval()


@pytest.fixture
def file(trained: nn.Module, tmp_path: Path) -> Path:
    save_weights(trained, tmp_path / "trained.safetensors", input=INPUT, classes=tuple("abcdefghij"))
    return tmp_path / "trained.safetensors"


def maps(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return model(x)[-1]


def without_head(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}


# ---- heads ---------------------------------------------------------------------------------------------------------------------------


def test_a_file_with_a_head_for_features_drops_it_aloud(trained: nn.Module, file: Path, caplog: pytest.LogCaptureFixture) -> None:
    x = torch.randn(1, 3, 32, 32)
    wanted = create_model("se_preresnet20", features_only=True, weights=trained.state_dict()).eval()
    for make in (
        lambda: create_model("se_preresnet20", features_only=True, weights=file),
        lambda: loaded(create_model("se_preresnet20", features_only=True), file),
    ):
        caplog.clear()
        model = make().eval()
        assert torch.equal(maps(model, x), maps(wanted, x))
        assert "2 tensors have no place in it and are left out: fc." in caplog.text
        assert metadata_of(model).input == INPUT


def loaded(model: nn.Module, source: Any, **options: Any) -> nn.Module:
    load_weights(model, source, **options)
    return model


def test_a_file_without_a_head_for_features(trained: nn.Module, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    x, state = torch.randn(1, 3, 32, 32), without_head(trained.state_dict())
    torch.save({"state_dict": state}, tmp_path / "a.pth")
    features = create_model("se_preresnet20", features_only=True, weights=tmp_path / "a.pth").eval()
    save_weights(features, tmp_path / "features.safetensors")
    again = create_model("se_preresnet20", features_only=True, weights=tmp_path / "features.safetensors").eval()
    other = loaded(create_model("se_preresnet20", features_only=True), tmp_path / "features.safetensors").eval()
    old = loaded(create_model("se_preresnet20", features_only=True), {f"network.{name}": tensor for name, tensor in state.items()}).eval()
    assert not caplog.records
    for model in (again, other, old):
        assert torch.equal(maps(model, x), maps(features, x))
    for load in (
        lambda: create_model("se_preresnet20", weights=tmp_path / "a.pth"),
        lambda: from_pretrained(tmp_path / "features.safetensors"),
    ):
        with pytest.raises(UsageError, match=r"has no head: create_model\(\.\.\., weights=, num_classes=\) or load_weights"):
            load()
    classifier = create_model("se_preresnet20", num_classes=7, weights=tmp_path / "a.pth")
    assert torch.equal(classifier.state_dict()["conv1.weight"], state["conv1.weight"])
    assert "the head is new, for 7 classes" in caplog.text
    report = load_weights(create_model("se_preresnet20"), tmp_path / "a.pth", new_head=True)
    assert report.fresh == ("fc.weight", "fc.bias")


def test_heads_of_several_layers() -> None:
    network = create_model("vgg11_bn", features_only=True, device="meta").get_submodule("network")
    wanted = network.state_dict()
    head = {f"classifier.{index}.{part}": torch.ones(2) for index in (0, 3, 6) for part in ("weight", "bias")}
    bridged = bridge(wanted | head, wanted, network, Allowed())
    assert bridged.dropped == tuple(head)
    assert bridged.tensors.keys() == wanted.keys()


def test_heads_of_another_library(tmp_path: Path) -> None:
    theirs = timm.create_model("seresnet18", num_classes=7)
    torch.save(theirs.state_dict(), tmp_path / "a.pth")
    headless = timm.create_model("seresnet18", num_classes=0)
    assert load_weights(headless, tmp_path / "a.pth").dropped == ("fc.weight", "fc.bias")
    assert load_weights(timm.create_model("seresnet18", num_classes=3), tmp_path / "a.pth", new_head=True).fresh == ("fc.weight", "fc.bias")
    assert load_weights(timm.create_model("resnet18", features_only=True), timm.create_model("resnet18").state_dict()).dropped
    torch.save(headless.state_dict(), tmp_path / "b.pth")
    with pytest.raises(UsageError, match=r"holds timm/seresnet18 without its head; create_model\('se_resnet18'"):
        from_pretrained(tmp_path / "b.pth")
    model = create_model("se_resnet18", features_only=True, weights=tmp_path / "b.pth").eval()
    x = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(maps(model, x).detach(), headless.eval().forward_features(x).detach(), rtol=1e-4, atol=1e-4)


def test_a_head_that_is_there_is_not_dropped(trained: nn.Module) -> None:
    with pytest.raises(UsageError, match=r"1 unexpected: classifier\.weight"):
        load_weights(create_model("se_preresnet20"), trained.state_dict() | {"classifier.weight": torch.ones(10, 64)})


# ---- channels ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2, 4, 6, 12])
@pytest.mark.parametrize("how", ["repeat", "mean"])
def test_kernels_are_spread_as_timm_spreads_them(
    channels: int, how: Any, trained: nn.Module, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = create_model("se_preresnet20", in_channels=channels, weights=file, adapt_input=how).eval()
    kernel, old = model.get_parameter("conv1.weight"), trained.get_parameter("conv1.weight")
    if how == "repeat":
        torch.testing.assert_close(kernel, timm.models.adapt_input_conv(channels, old.detach().clone()))
    else:
        torch.testing.assert_close(kernel, old.mean(1, keepdim=True).expand(-1, channels, -1, -1) * 3 / channels)
    others = {name: tensor for name, tensor in model.state_dict().items() if name != "conv1.weight"}
    assert all(torch.equal(tensor, trained.state_dict()[name]) for name, tensor in others.items())
    assert f"conv1.weight is spread from 3 to {channels} channels (adapt_input={how!r})" in caplog.text
    assert metadata_of(model).classes == tuple("abcdefghij")


@pytest.mark.parametrize(("channels", "how"), [(1, "repeat"), (1, "mean"), (2, "mean"), (4, "mean"), (6, "repeat"), (12, "repeat")])
def test_images_of_equal_channels_give_the_same(channels: int, how: Any, trained: nn.Module, file: Path) -> None:
    model = create_model("se_preresnet20", in_channels=channels, weights=file, adapt_input=how).eval()
    grey = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(grey.expand(-1, channels, -1, -1)), trained(grey.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("channels", "how", "mean", "std"),
    [
        (1, "repeat", (0.5,), (0.2160247,)),
        (4, "repeat", (0.4, 0.5, 0.6, 0.4), (0.1, 0.2, 0.3, 0.1)),
        (4, "mean", (0.5,) * 4, (0.2160247,) * 4),
    ],
)
def test_the_normalisation_follows(channels: int, how: Any, mean: tuple, std: tuple, file: Path, tmp_path: Path) -> None:
    model = create_model("se_preresnet20", in_channels=channels, weights=file, adapt_input=how)
    spec = metadata_of(model).input
    assert (spec.channels, spec.size, spec.resize) == (channels, 32, 36)
    assert spec.mean == pytest.approx(mean)
    assert spec.std == pytest.approx(std)
    save_weights(model, tmp_path / "spread.safetensors")
    again = from_pretrained(tmp_path / "spread.safetensors")
    assert metadata_of(again).input == spec
    assert config_of(again).options["in_channels"] == channels


def test_a_grey_file_into_a_coloured_network(file: Path, tmp_path: Path) -> None:
    grey = create_model("se_preresnet20", in_channels=1, weights=file).eval()
    save_weights(grey, tmp_path / "grey.safetensors")
    model = create_model("se_preresnet20", weights=tmp_path / "grey.safetensors").eval()
    x = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(x.expand(-1, 3, -1, -1)), grey(x), rtol=1e-4, atol=1e-5)
    assert metadata_of(model).input.mean == pytest.approx((0.5, 0.5, 0.5))


def test_the_file_of_another_library(tmp_path: Path) -> None:
    x = torch.randn(1, 1, 64, 64)
    theirs, grey = timm.create_model("seresnet18", num_classes=7).eval(), timm.create_model("seresnet18", num_classes=7, in_chans=1).eval()
    torch.save(theirs.state_dict(), tmp_path / "a.pth")
    torch.save(grey.state_dict(), tmp_path / "grey.pth")
    model = create_model("se_resnet18", num_classes=7, in_channels=6, weights=tmp_path / "a.pth").eval()
    found = from_pretrained(tmp_path / "grey.pth")
    assert config_of(found).options["in_channels"] == 1
    with torch.no_grad():
        torch.testing.assert_close(model(x.expand(-1, 6, -1, -1)), theirs(x.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(found(x), grey(x), rtol=1e-4, atol=1e-4)
    assert metadata_of(model).input.channels == 6


def test_spreading_can_be_refused(file: Path) -> None:
    for load in (
        lambda: load_weights(create_model("se_preresnet20", in_channels=4), file, adapt_input=None),
        lambda: create_model("se_preresnet20", in_channels=4, weights=file, adapt_input=None),
    ):
        with pytest.raises(UsageError, match=r"in_channels=3 \(here 4\)"):
            load()
    with pytest.raises(UsageError, match="unknown adapt_input 'meen' \\(did you mean 'mean'\\?\\)"):
        create_model("se_preresnet20", in_channels=4, weights=file, adapt_input="meen")  # pyright: ignore[reportArgumentType]


def test_only_the_first_kernel_is_ever_spread(trained: nn.Module) -> None:
    state = trained.state_dict()
    for name in ("layer1.0.conv1.weight", "layer2.0.conv1.weight"):
        with pytest.raises(UsageError, match="does not fit this network: 1 of another shape"):
            load_weights(create_model("se_preresnet20"), state | {name: state[name][:, :3]})
    with pytest.raises(UsageError, match="of another shape"):
        load_weights(create_model("se_preresnet20", in_channels=4), state | {"conv1.weight": torch.ones(8, 3, 3, 3)})
    with pytest.raises(UsageError, match="of another shape"):
        load_weights(nn.Sequential(nn.Conv2d(8, 4, 3)), nn.Sequential(nn.Conv2d(16, 4, 3)).state_dict())


@pytest.mark.parametrize(("kind", "rank"), [(nn.Conv1d, 1), (nn.Conv2d, 2), (nn.Conv3d, 3)])
def test_networks_of_users(kind: Callable[..., nn.Module], rank: int) -> None:
    report = load_weights(nn.Sequential(kind(1, 4, 3), nn.ReLU()), nn.Sequential(kind(3, 4, 3), nn.ReLU()).state_dict())
    assert report.adapted == "0.weight"


@pytest.mark.parametrize("how", ["repeat", "mean"])
@pytest.mark.parametrize("name", ["timm/resnet18", "torchvision/resnet18", "torchvision/mobilenet_v2"])
def test_trained_networks_of_other_libraries(
    name: str, how: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    library = name.partition("/")[0]
    make = foreign.LIBRARIES[library]

    def offline(rest: str, num_classes: int | None, in_channels: int, options: dict[str, Any]) -> nn.Module:
        torch.manual_seed(0)
        model = make(rest, num_classes, in_channels, {key: value for key, value in options.items() if key != "pretrained"})
        assert not options.get("pretrained") or in_channels == 3
        return loaded_with(model, 0.01) if options.get("pretrained") else model

    monkeypatch.setitem(foreign.LIBRARIES, library, offline)
    model = create_model(name, num_classes=5, in_channels=4, pretrained=True, adapt_input=how)
    first = next(tensor for tensor in model.state_dict().values() if tensor.ndim == 4)
    assert first.shape[1] == 4
    assert torch.allclose(first, torch.full_like(first, 0.01 * 3 / 4))
    assert "is spread from 3 to 4 channels" in caplog.text
    assert config_of(model).options["in_channels"] == 4
    with pytest.raises(UsageError, match="of another shape"):
        create_model(name, in_channels=4, pretrained=True, adapt_input=None)


@torch.no_grad()
def loaded_with(model: nn.Module, value: float) -> nn.Module:
    for parameter in model.parameters():
        parameter.fill_(value)
    return model


def test_in_a_recipe(file: Path, trained: nn.Module) -> None:
    recipe = ModelRecipe(name="se_preresnet20", options={"weights": str(file), "adapt_input": "mean"})
    model = model_from_recipe(recipe, num_classes=10, in_channels=1)
    wanted = trained.get_parameter("conv1.weight").sum(1, keepdim=True)
    torch.testing.assert_close(model.get_parameter("conv1.weight"), wanted)


def test_on_the_command_line(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = str(tmp_path / "four.safetensors")
    options = ["--model", "se_preresnet20", "--in-channels", "4", "--adapt-input", "mean"]
    assert main(["convert", str(file), "--to", target, *options]) == 0
    model = from_pretrained(target)
    assert config_of(model).options["in_channels"] == 4
    assert metadata_of(model).input.mean == pytest.approx((0.5,) * 4)
    capsys.readouterr()
    assert main(["convert", str(file), "--to", target, "--force", "--in-channels", "4"]) == 2
    assert "--in-channels needs --model" in capsys.readouterr().err
