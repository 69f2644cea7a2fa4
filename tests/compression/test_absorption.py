"""Values that several see, and operations that pass no factors on, stop the search for layers that take factors up."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import senet
from oracles.frozen import frozen
from oracles.optimized import distance
from senet.compression.folding import fold_gates
from senet.errors import UsageError


class Between(nn.Module):
    """Convolution, some operation, block, another operation, convolution."""

    def __init__(self, before: Callable[[Tensor], Tensor], behind: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.se, self.second = nn.Conv2d(3, 8, 3), senet.ChannelSE(8, 2), nn.Conv2d(8, 4, 1)
        self.factor = nn.Parameter(torch.rand(8, 1, 1))
        self.before, self.behind = before, behind

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.behind(self.se(self.before(self.first(x)))))


def folded_into(before: Callable[[Tensor], Tensor], behind: Callable[[Tensor], Tensor] = torch.sigmoid) -> tuple[str, ...]:
    """Return the layers that took the factors up; the folded network equals the frozen one in any case."""
    torch.manual_seed(0)
    model = Between(before, behind).double().eval()
    gates = {"se": torch.linspace(0.1, 0.9, 8, dtype=torch.float64)}
    found = fold_gates(model, gates)
    x = 100 * torch.randn(2, 3, 12, 12, dtype=torch.float64)
    with torch.no_grad(), frozen(model, gates):
        assert distance(found.model(x), model(x)) < 1e-12
    return found.folds[0].into


PASSING = {
    "relu": functional.relu,
    "leaky": functional.leaky_relu,
    "module": nn.PReLU(),
    "maximum": lambda x: functional.max_pool2d(x, 2),
    "average": nn.AvgPool2d(3, 2),
    "dropout": lambda x: functional.dropout(x, 0.5, training=False),
    "enlarged": lambda x: functional.interpolate(x, scale_factor=2, mode="bilinear"),
    "number": lambda x: 3 * x / 2.0,
    "negated": lambda x: torch.neg(x),
    "shuffled": nn.ChannelShuffle(2),
    "doubled": lambda x: x + x,
}


@pytest.mark.parametrize("name", PASSING)
def test_before_a_block(name: str) -> None:
    assert folded_into(PASSING[name]) == ("first",)


@pytest.mark.parametrize("name", PASSING)
def test_behind_a_block(name: str) -> None:
    assert folded_into(torch.sigmoid, PASSING[name]) == (() if name == "doubled" else ("second",))


STOPPING = {
    "bounded": functional.relu6,
    "shifted": lambda x: x + 1,
    "squared": lambda x: x * x,
    "inverse": lambda x: 1 / x,
    "transposed": lambda x: x.transpose(1, 2)[:, :8],
    "read twice": lambda x: x + torch.sigmoid(x),
    "normalised": functional.normalize,
    "joined with itself": lambda x: torch.cat((x, x), 1)[:, :8],
}


@pytest.mark.parametrize("name", STOPPING)
def test_what_stops_the_factors(name: str) -> None:
    assert folded_into(STOPPING[name]) == ()
    assert folded_into(torch.sigmoid, STOPPING[name]) == ()


class Joined(nn.Module):
    """Branches whose maps are joined, rectified and recalibrated."""

    def __init__(self, order: int) -> None:
        super().__init__()
        self.one, self.other = nn.Conv2d(3, 2, 1), nn.Sequential(nn.Conv2d(3, 6, 1), nn.BatchNorm2d(6))
        self.se, self.order = senet.ChannelSE(8, 2), order

    def forward(self, x: Tensor) -> Tensor:
        return self.se(torch.relu(torch.cat((self.one(x), self.other(x))[:: self.order], 1)))


def test_a_weight_that_is_read_by_hand_is_left() -> None:
    class ByHand(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.se = nn.Conv2d(3, 4, 1), senet.ChannelSE(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.se(self.conv(x)) + functional.conv2d(x.flip(-1), self.conv.weight)

    found = fold_gates(ByHand(), {"se": torch.rand(4)})
    assert "before it: conv shares its weights with something else" in found.folds[0].kept


@pytest.mark.parametrize(("attribute", "into"), [("shape", ("conv",)), ("data", ())])
def test_what_asks_for_a_shape_reads_nothing(attribute: str, into: tuple[str, ...]) -> None:
    class Asking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.se = nn.Conv2d(3, 4, 1), senet.ChannelSE(4, 2)

        def forward(self, x: Tensor) -> tuple[Tensor, object]:
            y = self.conv(x)
            return self.se(y), getattr(y, attribute)

    assert fold_gates(Asking(), {"se": torch.rand(4)}).folds[0].into == into


def test_a_bicubic_map_may_have_negative_numbers() -> None:
    class Resampled(nn.Module):
        def __init__(self, mode: str) -> None:
            super().__init__()
            self.conv, self.up, self.se = (
                nn.Conv2d(3, 4, 1),
                nn.Upsample(scale_factor=2, mode=mode),
                senet.ChannelSpatialSE(4, combine="max"),
            )

        def forward(self, x: Tensor) -> Tensor:
            return self.se(self.up(torch.relu(self.conv(x))))

    with pytest.raises(UsageError, match="depends on the sign of its input"):
        fold_gates(Resampled("bicubic"), {"se.cse": torch.rand(4), "se.sse": 0.5})
    rectified = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.AvgPool2d(2), senet.ChannelSpatialSE(4, combine="max"))
    assert fold_gates(rectified, {"3.cse": torch.rand(4), "3.sse": 0.5}).folds[0].into == ("0",)


def test_a_map_that_is_joined_with_itself_is_left() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.se = nn.Conv2d(3, 4, 1), senet.ChannelSE(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x)
            return self.se(torch.cat((x, x), 1))

    found = fold_gates(Twice(), {"se": torch.rand(8)})
    assert "cat joins a map with itself" in found.folds[0].kept


@pytest.mark.parametrize("order", [1, -1])
def test_each_part_of_a_concatenation_takes_its_own(order: int) -> None:
    model = Joined(order).double().eval()
    gates = {"se": torch.linspace(0.1, 0.9, 8, dtype=torch.float64)}
    found = fold_gates(model, gates)
    x = torch.randn(2, 3, 5, 5, dtype=torch.float64)
    with torch.no_grad(), frozen(model, gates):
        assert distance(found.model(x), model(x)) < 1e-12
    assert set(found.folds[0].into) == {"one", "other.1"}


def test_a_hook_that_sees_a_value_keeps_it() -> None:
    model = nn.Sequential(nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU()), senet.ChannelSE(8, 2)).double().eval()
    model[0].register_forward_hook(lambda module, args, output: None)
    found = fold_gates(model, {"1": 0.5})
    assert found.folds[0].into == ()
    assert "before it: a hook sees it" in found.folds[0].kept
