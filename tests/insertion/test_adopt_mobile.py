"""Blocks of timm's mobile networks replaced by ours."""

from importlib import import_module
from typing import Any

import pytest
import torch
from torch import nn

import senet
from senet.errors import UsageError

timm: Any = import_module("timm")


def test_the_trained_kind_of_network() -> None:
    model = timm.create_model("mobilenetv3_small_100").double().eval()
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        wanted = model(x)
        assert len(senet.adopt(model).blocks) == 9
        torch.testing.assert_close(model(x), wanted, rtol=1e-12, atol=1e-15)


def test_gradients_and_names() -> None:
    block = import_module("timm.models._efficientnet_blocks").SqueezeExcite
    theirs, ours = nn.Sequential(block(24)).double(), nn.Sequential(block(24)).double()
    ours.load_state_dict(theirs.state_dict())
    adoption = senet.adopt(ours)
    x = torch.randn(2, 24, 5, 6, dtype=torch.float64)
    for network in (theirs, ours):
        network(x).square().sum().backward()
    given = {name: parameter.grad for name, parameter in theirs.named_parameters() if parameter.grad is not None}
    gradients = adoption.rename(given, to="senet")
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-10, atol=1e-12)
    back = adoption.rename(ours.state_dict(), to="library")
    assert all(torch.equal(back[name], tensor) for name, tensor in theirs.state_dict().items())


def test_another_activation_is_left() -> None:
    model = timm.create_model("efficientnet_b0")
    with pytest.raises(UsageError, match="it has SiLU between its layers"):
        senet.adopt(model)
