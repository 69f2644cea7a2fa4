"""Every release of every library loads through the public functions, and gives the library's own outputs."""

from pathlib import Path

import monai
import pytest
import timm
import torch
from segmentation_models_pytorch.base.modules import SCSEModule
from timm.layers import SEModule
from torch import nn
from torchvision.models import get_model_weights
from torchvision.ops import SqueezeExcitation

from oracles.libraries import MAKERS, SELayer, assert_equal_networks, oracle, save_as
from oracles.weights import draw
from senet import ChannelSE, ChannelSpatialSE, SpatialSE, create_model, from_pretrained, load_weights
from senet.errors import UsageError
from senet.models.backbone_request import DETECTORS
from senet.models.registry import PLAIN, split_name
from senet.weights.releases.libraries import PUBLISHERS
from senet.weights.releases.library import Library, Release, no_conversion
from senet.weights.store import metadata_of

NETWORKS = [
    (library, release)
    for library in PUBLISHERS.values()
    if library.name in MAKERS
    for release in library.releases
    if release.model and release.model not in DETECTORS
]
BY_HAND = {("cadene", "bninception"), ("cadene", "inceptionresnetv2")}
"""Releases under names that no library here has; the tests of their family write them."""

FAST = {
    "timm": {"legacy_seresnet50", "legacy_seresnext50_32x4d", "seresnet18", "seresnext50_32x4d", "resnet50"},
    "torchvision": {"resnet18", "resnet50", "resnext50_32x4d"},
    "pytorchcv": {"resnet18", "seresnet50", "seresnet50b", "seresnext50_32x4d", "resnet20_cifar10", "preresnet20_cifar10", "bninception"},
    "cadene": {"se_resnet50"},
    "monai": {"SEResNet50"},
    "mmpretrain": {"seresnet50", "seresnet50_caffe"},
    "moskomule": {"se_resnet18", "se_resnet50", "se_resnet20"},
}
"""One network for each way of naming, and for each set of options."""

SIZES = {224: 65, 299: 97, 32: 32}
"""Side of the images that a network is made for -> that of the test's."""


HUB_ONLY = {"inception_resnet_v2"}
"""Networks for which timm itself now names a repository of the hub and no file."""


def case(library: Library, release: Release) -> object:
    marks = () if release.name in FAST[library.name] else pytest.mark.slow
    return pytest.param(library, release, marks=marks, id=f"{library.name}-{release.name}")


@pytest.mark.parametrize(("library", "release"), [case(*pair) for pair in NETWORKS if (pair[0].name, pair[1].name) not in BY_HAND])
def test_a_release_loads_and_computes_what_its_library_does(library: Library, release: Release, tmp_path: Path) -> None:
    theirs = oracle(library.name, release.name)
    source = f"{library.name}/{release.name}:{save_as(library.name, theirs, tmp_path / 'weights.pth')}"
    ours = create_model(release.model, weights=source)
    assert metadata_of(ours).input == release.input

    twin = save_as(library.name, theirs, tmp_path / f"{release.name}.safetensors")  # its name tells it from those of equal tensors
    found = from_pretrained(f"{library.name}:{twin}")
    assert found.config == ours.config
    assert all(torch.equal(tensor, found.state_dict()[name]) for name, tensor in ours.state_dict().items())

    if release.convert is not no_conversion:  # which rounds, as any arithmetic
        save_as(library.name, theirs.double(), tmp_path / "weights.pth")
        load_weights(ours.double(), source)
    assert_equal_networks(theirs, ours, SIZES[PLAIN[split_name(release.model)[1]].image_size])


@pytest.mark.parametrize(
    ("library", "name", "model"),
    [
        ("timm", "legacy_seresnet50", "se_resnet50"),
        ("pytorchcv", "seresnet18", "se_resnet18"),
        ("mmpretrain", "seresnext50-32x4d", "se_resnext50_32x4d"),
        ("moskomule", "se_resnet20", "se_cifar_resnet20"),
    ],
)
def test_a_file_tells_whose_it_is_by_its_names(library: str, name: str, model: str, tmp_path: Path) -> None:
    theirs = oracle(library, name)
    file = save_as(library, theirs, tmp_path / "weights.safetensors")
    found = from_pretrained(file)
    assert found.config.name == model
    assert_equal_networks(theirs, found, 33)
    assert create_model(model, weights=file).config == found.config


def test_addresses_and_images_are_those_of_timm() -> None:
    configs = {name: tagged.cfgs.values() for name, tagged in timm.models._registry._model_default_cfgs.items()}
    for release in PUBLISHERS["timm"].releases:
        if release.url is not None and release.name not in HUB_ONLY:
            (config,) = [config for config in configs[release.name] if config.url and same_address(config.url, release.url)]
            assert_images(release, config.mean, config.std, config.input_size[-1], int(config.input_size[-1] / config.crop_pct))


def same_address(first: str, second: str) -> bool:
    """Compare addresses of files in a repository that has moved."""
    return first.replace("/huggingface/", "/rwightman/") == second.replace("/huggingface/", "/rwightman/")


def test_addresses_and_images_are_those_of_torchvision() -> None:
    for release in PUBLISHERS["torchvision"].releases:
        if release.model and release.model not in DETECTORS:
            (weights,) = [weights for weights in get_model_weights(release.name) if weights.url == release.url]
            images = weights.transforms()
            assert_images(release, images.mean, images.std, images.crop_size[0], images.resize_size[0])


def assert_images(release: Release, mean: object, std: object, size: int, resize: int) -> None:
    spec = release.input
    assert spec is not None
    assert (spec.mean, spec.std, spec.size, spec.resize) == (tuple(mean), tuple(std), size, resize)
    assert release.url.removesuffix(".pth").endswith(f"-{release.digest}")


class ChannelSELayer(nn.Module):
    """The authors' channel form of scSE (ai-med/squeeze_and_excitation)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(channels, channels // 2), nn.Linear(channels // 2, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(self.fc2(torch.relu(self.fc1(x.mean((2, 3))))))[:, :, None, None]


class SpatialSELayer(nn.Module):
    """The authors' spatial form."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(self.conv(x))


class ChannelSpatialSELayer(nn.Module):
    """The authors' scSE."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.cSE, self.sSE = ChannelSELayer(channels), SpatialSELayer(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.maximum(self.cSE(x), self.sSE(x))


BLOCKS = {
    "smp/SCSEModule": (SCSEModule, lambda c: ChannelSpatialSE(c, 16)),
    "aimed/ChannelSpatialSELayer": (ChannelSpatialSELayer, lambda c: ChannelSpatialSE(c, combine="max")),
    "aimed/ChannelSELayer": (ChannelSELayer, lambda c: ChannelSE(c, 2)),
    "aimed/SpatialSELayer": (SpatialSELayer, SpatialSE),
    "timm/SEModule": (lambda c: SEModule(c, rd_channels=c // 16), ChannelSE),
    "torchvision/SqueezeExcitation": (lambda c: SqueezeExcitation(c, c // 16), ChannelSE),
    "monai/ChannelSELayer": (lambda c: monai.networks.blocks.ChannelSELayer(2, c, r=16), ChannelSE),
    "moskomule/SELayer": (SELayer, lambda c: ChannelSE(c, bias=False)),
}
"""Release -> the library's block and ours, by channels."""


@pytest.mark.parametrize("label", BLOCKS)
def test_a_block_loads_and_computes_what_its_library_does(label: str, tmp_path: Path) -> None:
    theirs, ours = (make(32).double() for make in BLOCKS[label])
    draw(theirs, last="^$", projection="^$")
    torch.save(theirs.state_dict(), tmp_path / "block.pth")
    x = torch.randn(2, 32, 5, 7, dtype=torch.float64)
    for source in (f"{label}:{tmp_path / 'block.pth'}", f"{label.partition('/')[0]}:{tmp_path / 'block.pth'}"):
        ours.reset_parameters()
        assert load_weights(ours, source).release == label
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-12, atol=1e-12)
    assert metadata_of(ours).input is None


@pytest.mark.parametrize(
    ("label", "block", "message"),
    [
        ("smp/SCSEModule", lambda: ChannelSpatialSE(32, 16, combine="max"), r"needs combine='add' \(here 'max'\)"),
        ("aimed/ChannelSpatialSELayer", lambda: ChannelSpatialSE(32), r"needs combine='max' \(here 'add'\)"),
        ("aimed/ChannelSELayer", lambda: ChannelSE(32, 2, gate="tanh"), r"needs gate='sigmoid' \(here 'tanh'\)"),
        ("moskomule/SELayer", lambda: ChannelSE(32), r"2 missing: fc1.bias, fc2.bias"),
        ("smp/SCSEModule", lambda: ChannelSpatialSE(32, 2), r"3 of another shape: cse.fc1.weight \(2, 32, 1, 1\) for \(16, 32\)"),
        ("smp/SCSEModule", lambda: ChannelSE(32, 16), r"no weights of smp fit this module; they fit: the block SCSEModule"),
    ],
)
def test_a_block_that_computes_otherwise_is_refused(label: str, block, message: str, tmp_path: Path) -> None:
    torch.save(BLOCKS[label][0](32).state_dict(), tmp_path / "block.pth")
    with pytest.raises(UsageError, match=message):
        load_weights(block(), f"{label.partition('/')[0]}:{tmp_path / 'block.pth'}")


def test_weights_of_blocks_are_no_networks(tmp_path: Path) -> None:
    torch.save(SCSEModule(32).state_dict(), tmp_path / "block.pth")
    with pytest.raises(UsageError, match=r"no weights of smp fit se_resnet18; they fit: the block SCSEModule"):
        create_model("se_resnet18", weights=f"smp:{tmp_path / 'block.pth'}")
