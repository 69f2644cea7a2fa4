"""Copies of networks that torch itself does not copy."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from senet.surgery.duplicate import duplicate


def test_a_weight_that_was_computed_is_copied() -> None:
    model, x = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), torch.randn(5, 4)
    prune.random_unstructured(model[0], "weight", amount=0.5)
    want = model(x)
    with pytest.raises(RuntimeError, match="graph leaves"):
        copy.deepcopy(model)
    copied = duplicate(model)
    assert torch.equal(copied(x), want)
    assert copied.state_dict().keys() == model.state_dict().keys()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert torch.equal(copied(x), want)
    copied(x).sum().backward()
    assert all(parameter.grad is not None for parameter in copied.parameters())
    assert all(parameter.grad is None for parameter in model.parameters())
