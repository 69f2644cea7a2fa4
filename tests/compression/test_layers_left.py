"""Layers that others call or see too take up no factors: the constant gates before or behind them stay multiplications."""

from typing import Any

import pytest
import torch
from torch import nn

import senet
from compression.made_folds import folded_and_frozen
from foreign.networks import Untraceable


def test_what_cannot_be_traced_keeps_a_multiplication():
    model = Untraceable().eval().double()
    senet.insert(model, "se", at=r"units\.\d")
    found, error = folded_and_frozen(model, torch.randn(2, 3, 16, 16, dtype=torch.float64))
    assert error < 1e-12
    assert all("cannot be traced" in fold.kept for fold in found.folds)


def test_a_layer_that_others_call_too_is_left():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.se = nn.Conv2d(3, 4, 3), senet.ChannelSE(4, 2)

        def forward(self, x):
            return self.se(self.conv(x)).mean() + self.conv(x.flip(-1)).mean()

    found, error = folded_and_frozen(Shared().double().eval(), torch.randn(2, 3, 8, 8, dtype=torch.float64))
    assert error < 1e-12
    assert "conv is called more than once" in found.folds[0].kept


def test_a_layer_that_is_called_around_its_part_is_left():
    class Around(nn.Module):
        def __init__(self, again):
            super().__init__()
            self.part, self.again = nn.Sequential(nn.Conv2d(3, 4, 3), senet.ChannelSE(4, 2)), again

        def forward(self, x):
            y = self.part(x)
            return y + self.part[0](x.flip(-1)).mean() if x.sum() < 1e9 and self.again else y

    for again, into in ((True, ()), (False, ("part.0",))):
        found, error = folded_and_frozen(Around(again).double().eval(), torch.randn(2, 3, 8, 8, dtype=torch.float64))
        assert error < 1e-12
        assert found.folds[0].into == into


def test_a_part_that_is_called_for_several_maps_folds():
    class Levels(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), senet.ChannelSE(4, 2), nn.Conv2d(4, 2, 1))

        def forward(self, x):
            return self.head(x).mean((2, 3)) + self.head(x[..., ::2, ::2]).mean((2, 3))

    found, error = folded_and_frozen(Levels().double().eval(), torch.randn(2, 3, 8, 8, dtype=torch.float64))
    assert error < 1e-12
    assert found.folds[0].into == ("head.0",)


def test_a_layer_with_tied_weights_is_left():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.se, self.second = nn.Conv2d(4, 4, 3, padding=1), senet.ChannelSE(4, 2), nn.Conv2d(4, 4, 3, padding=1)
            self.second.weight = self.first.weight

        def forward(self, x):
            return self.second(self.se(self.first(x)))

    found, error = folded_and_frozen(Tied().double().eval(), torch.randn(2, 4, 8, 8, dtype=torch.float64))
    assert error < 1e-12
    assert "first shares its weights with something else" in found.folds[0].kept


def plus_one(module: nn.Module, args: Any, output: torch.Tensor) -> torch.Tensor:
    return output + 1


@pytest.mark.parametrize("change", ["hook", "parametrized"])
def test_a_layer_that_is_more_than_its_weights_is_left(change):
    model = nn.Sequential(nn.Conv2d(3, 8, 3), senet.ChannelSE(8, 2)).double().eval()
    if change == "hook":
        model[0].register_forward_hook(plus_one)
    else:
        nn.utils.parametrizations.weight_norm(model[0])
    found, error = folded_and_frozen(model, torch.randn(2, 3, 8, 8, dtype=torch.float64))
    assert error < 1e-12
    assert "0 is more than its weight and bias" in found.folds[0].kept
