"""What is larger afterwards, and what enlarges: a factor, and not a margin, a joint or more features."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import Permute

from senet.surgery.enlarging import larger
from senet.surgery.probe import probe


class Spread(nn.Module):
    """Nearest neighbours by views alone."""

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        return x[:, :, :, None, :, None].expand(n, c, h, 2, w, 2).reshape(n, c, 2 * h, 2 * w)


class Function(nn.Module):
    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], channels: int = 4) -> None:
        super().__init__()
        self.function, self.weight = function, nn.Parameter(torch.zeros(channels, channels, 2, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.weight)


class Unpool(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2)


class UnpoolTwice(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.max_unpool2d(x, torch.zeros_like(x, dtype=torch.long), 2)


ENLARGE = {
    "upsample": nn.Upsample(scale_factor=2),
    "in a block": nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(4, 4, 3, padding=1)),
    "transposed convolution": nn.ConvTranspose2d(4, 4, 2, stride=2),
    "of stride 1": nn.ConvTranspose2d(4, 4, 9),
    "along one axis": nn.ConvTranspose2d(4, 4, (1, 4), stride=(1, 2), padding=(0, 1)),
    "pixel shuffle": nn.Sequential(nn.Conv2d(4, 16, 1), nn.PixelShuffle(2)),
    "interpolation": Function(lambda x, _: F.interpolate(x, size=(11, 11))),
    "functional transposed convolution": Function(lambda x, w: F.conv_transpose2d(x, w, stride=2)),
    "stride by keyword": Function(lambda x, w: F.conv_transpose2d(input=x, weight=w, stride=(2, 2))),
    "unpooling": UnpoolTwice(),
    "repetition": Function(lambda x, _: x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)),
    "sampling": Function(lambda x, _: F.grid_sample(x, torch.zeros(len(x), 16, 16, 2), align_corners=False)),
    "views": Spread(),
}
LEAVE = {
    "reflection padding": nn.ReflectionPad2d(4),
    "zero padding": nn.ZeroPad2d((4, 4, 4, 4)),
    "circular padding": nn.CircularPad2d(4),
    "functional padding": Function(lambda x, _: F.pad(x, (8, 0, 8, 0))),
    "padded convolution": nn.Conv2d(4, 4, 1, padding=4),
    "even kernel": nn.Conv2d(4, 4, 2, padding=1),
    "padded transposed convolution": nn.ConvTranspose2d(4, 4, 3, padding=1),
    "pad and convolve": nn.Sequential(nn.ReflectionPad2d(7), nn.Conv2d(4, 4, 7)),
    "joined along the rows": Function(lambda x, _: torch.cat([x, x], 2)),
    "down and up": nn.Sequential(nn.AvgPool2d(2), nn.Upsample(scale_factor=2)),
    "pool and unpool": Unpool(),
    "to a smaller size": Function(lambda x, _: F.interpolate(x, scale_factor=0.5)),
    "permuted axes": nn.Sequential(nn.MaxPool2d(4), Permute((0, 2, 3, 1))),
    "up, then far down": nn.Sequential(nn.Upsample(scale_factor=2), nn.MaxPool2d(4)),
}


@pytest.mark.parametrize("module", ENLARGE.values(), ids=ENLARGE)
def test_what_multiplies_the_sides_enlarges(module: nn.Module) -> None:
    seen = probe(nn.Sequential(nn.Conv2d(3, 4, 1), module), torch.zeros(2, 3, 8, 8))
    assert module in seen.upsampling


@pytest.mark.parametrize("module", LEAVE.values(), ids=LEAVE)
def test_what_adds_to_the_sides_or_leaves_them_does_not(module: nn.Module) -> None:
    seen = probe(nn.Sequential(nn.Conv2d(3, 4, 1), module), torch.zeros(2, 3, 8, 8))
    assert seen.upsampling == {inner for inner in module.modules() if isinstance(inner, nn.Upsample)}


def test_more_features_and_more_tokens_are_not_larger_maps() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.wider, self.first = nn.Conv2d(3, 4, 4, 4), nn.Linear(4, 16), nn.Parameter(torch.zeros(1, 1, 4))

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x).flatten(2).transpose(1, 2)
            return self.wider(torch.cat([self.first.expand(len(x), -1, -1), x], 1))

    assert probe(Tokens(), torch.zeros(2, 3, 16, 16)).upsampling == set()


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ((1, 4, 8, 8), (1, 2, 16, 16), True),
        ((1, 4, 8), (1, 4, 16), True),
        ((1, 4, 8, 8), (1, 4, 8, 16), True),
        ((1, 4, 8, 8), (1, 8, 8, 8), False),
        ((1, 4, 8, 8), (1, 4, 4, 16), False),
        ((1, 4, 8, 8), (1, 4, 64), False),
        ((4, 8), (4, 16), False),
    ],
)
def test_larger(before: tuple[int, ...], after: tuple[int, ...], expected: bool) -> None:
    assert larger(before, after) == expected
