"""What looks like a chain of a convolution and is none is left alone."""

import pytest
import torch
from torch import Tensor, nn

import senet
from oracles.weights import draw
from senet.blocks.channel import ChannelSE


class Traps(nn.Module):
    """Forwards in which something looks like a chain and is none."""

    def __init__(self, case: str) -> None:
        super().__init__()
        self.case = case
        self.conv, self.bn, self.bn2, self.relu = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.BatchNorm2d(4), nn.ReLU(inplace=True)
        self.other = nn.Conv2d(3, 4, 1)
        self.se = ChannelSE(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return getattr(self, self.case)(x)

    def used_twice(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.bn(y) + self.bn2(y)

    def called_twice(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x)) + self.conv(x)

    def overwritten(self, x: Tensor) -> Tensor:
        x = x * 1
        y = self.conv(x)
        x.relu_()
        return self.bn(y) + self.other(x)

    def overwrites_the_shortcut(self, x: Tensor) -> Tensor:
        r = self.other(x)
        kept = r.view(-1)
        r.add_(self.se(self.bn(self.conv(x))))
        return r + kept.view_as(r)

    def rectified_first(self, x: Tensor) -> Tensor:
        return self.se(self.relu(self.bn(self.conv(x))))

    def doubled(self, x: Tensor) -> Tensor:
        y = self.bn(self.conv(x))
        return y + y

    def after_the_sum(self, x: Tensor) -> Tensor:
        return self.bn2(self.bn(self.conv(x)) + self.other(x))

    def broadcast(self, x: Tensor) -> Tensor:
        return torch.relu(self.se(self.conv(x)) + self.other(x).amax((2, 3), keepdim=True)) + self.bn(
            x.mean((2, 3), keepdim=True)[:, [0, 0, 1, 2]]
        )

    def block_before_bn(self, x: Tensor) -> Tensor:
        return self.bn(0.5 * self.se(self.conv(x)))

    def crossed(self, x: Tensor) -> Tensor:
        return self.relu(self.bn(self.conv(x)) + self.relu(self.bn2(self.other(x))))


CASES = [name for name in vars(Traps) if not name.startswith("_") and name != "forward"]


@pytest.mark.parametrize("grow", [False, True], ids=["alone", "inside"])
@pytest.mark.parametrize("case", CASES)
def test_what_looks_like_a_chain(case, grow):
    torch.manual_seed(0)
    model = draw(nn.ModuleDict({"inner": Traps(case)}) if grow else Traps(case), last="none", projection="none").eval().double()
    model = nn.Sequential(model["inner"], nn.Identity()) if isinstance(model, nn.ModuleDict) else model
    x = torch.randn(2, 3, 5, 6, dtype=torch.float64)
    before = x.clone()
    with torch.no_grad():
        torch.testing.assert_close(senet.optimize(model)(x), model(x), rtol=1e-12, atol=1e-12)
    assert torch.equal(x, before)
