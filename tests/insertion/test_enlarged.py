"""A unit that pads stays what it is; a row of tokens that grows makes no decoder."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import senet
from senet.errors import UsageError

PADDINGS: dict[str, Callable[[], nn.Module]] = {
    "reflection": lambda: nn.ReflectionPad2d(1),
    "replication": lambda: nn.ReplicationPad2d(1),
    "zeros": lambda: nn.ZeroPad2d(1),
    "a constant": lambda: nn.ConstantPad2d(1, 2.0),
    "circular": lambda: nn.CircularPad2d(1),
    "one side": lambda: nn.ZeroPad2d((2, 0, 2, 0)),
    "an even kernel": lambda: nn.Conv2d(8, 8, 2, padding=2, groups=8),
    "a wide margin": lambda: nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(8, 8, 5)),
}


class Padded(nn.Module):
    """A residual unit as in generators: pad, convolve, normalise, twice."""

    def __init__(self, pad: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.pad1, self.conv1, self.norm1, self.relu = pad(), nn.Conv2d(8, 8, 3), nn.InstanceNorm2d(8), nn.ReLU()
        self.pad2, self.conv2, self.norm2 = pad(), nn.Conv2d(8, 8, 3), nn.InstanceNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.norm1(self.conv1(self.pad1(x))))
        y = self.norm2(self.conv2(self.pad2(y)))
        return x + y[..., : x.shape[-2], : x.shape[-1]]


class PaddedByFunction(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.pad(self.conv1(F.pad(x, (1, 1, 1, 1), mode="reflect")).relu(), (1, 1, 1, 1)))


@pytest.mark.parametrize("pad", PADDINGS.values(), ids=PADDINGS)
def test_a_unit_that_pads_is_residual(pad: Callable[[], nn.Module]) -> None:
    plan = senet.find_sites(
        nn.Sequential(nn.Conv2d(3, 8, 3), Padded(pad), Padded(pad), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    )
    assert [site.kind for site in plan] == ["residual"] * 2


def test_a_unit_that_pads_by_a_function_is_residual() -> None:
    plan = senet.find_sites(nn.Sequential(nn.Conv2d(3, 8, 3), PaddedByFunction(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)))
    assert [(site.kind, site.path) for site in plan] == [("residual", "1.conv2")]


class Tokens(nn.Module):
    """A class token before the rows of a patch embedding, and a perceptron of four times the width."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.token = nn.Conv2d(3, 8, 8, 8), nn.Parameter(torch.zeros(1, 1, 8))
        self.norm, self.wide, self.gelu, self.narrow = nn.LayerNorm(8), nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
        return (x + self.narrow(self.gelu(self.wide(self.norm(x)))))[:, 0]


def test_more_tokens_and_wider_tokens_make_no_decoder() -> None:
    with pytest.raises(UsageError, match="found no site in Tokens"):
        senet.find_sites(Tokens())


class Masks(nn.Module):
    """A residual unit, and a head that enlarges `count` maps for each image, as a detector's does with its regions."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count, self.stem, self.unit = count, nn.Conv2d(3, 8, 3, padding=1), Padded(lambda: nn.ZeroPad2d(1))
        self.head = nn.Sequential(nn.ConvTranspose2d(8, 8, 2, stride=2), nn.ReLU(), nn.Conv2d(8, 2, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.unit(self.stem(x)).repeat_interleave(self.count, 0))


@pytest.mark.parametrize(("count", "kinds"), [(1, {"residual", "decoder"}), (3, {"residual"})])
def test_what_is_enlarged_of_regions_is_no_decoder(count: int, kinds: set[str]) -> None:
    assert {site.kind for site in senet.find_sites(Masks(count), "se", example_input=torch.randn(2, 3, 16, 16))} == kinds
