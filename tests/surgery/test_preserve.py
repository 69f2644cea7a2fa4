"""A network is as it was after it was looked into, whatever happened."""

from contextlib import suppress

import torch
from torch import Tensor, nn

from senet.surgery.preserve import evaluating, unchanged


def test_every_module_goes_back_to_its_own_mode() -> None:
    model = nn.Sequential(nn.BatchNorm2d(2), nn.Sequential(nn.Dropout()))
    model[0].eval()
    modes = []
    with suppress(RuntimeError), evaluating(model):
        modes += [module.training for module in model.modules()]
        raise RuntimeError("stop")
    assert modes == [False] * 4
    assert [module.training for module in model.modules()] == [True, False, True, True]


class Remembers(nn.Module):
    """A module that keeps what it has seen, in attributes, in a dictionary and in a buffer's entry."""

    def __init__(self) -> None:
        super().__init__()
        self.cache: dict[str, Tensor] = {}
        self.register_buffer("last", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.seen = x
        self.cache["x"] = x
        self.last = x
        return x


def test_attributes_that_a_forward_leaves_behind_are_undone() -> None:
    model = Remembers()
    last = model.last
    with unchanged(model):
        model(torch.ones(3))
        assert model.cache
        assert model.last.shape == (3,)
    assert not hasattr(model, "seen")
    assert model.cache == {}
    assert model.last is last
