"""Layers with some of their channels, and the check that finds a cut that is not one."""

import pytest
import torch
from torch import Tensor, nn

from senet.compression.pruning.channels import Axis
from senet.compression.pruning.cut import cut_, difference, mask_

LAYERS = {
    "conv": (lambda: nn.Conv2d(6, 8, 3), (2, 6, 5, 5)),
    "conv without bias": (lambda: nn.Conv2d(6, 8, 3, bias=False), (2, 6, 5, 5)),
    "grouped": (lambda: nn.Conv2d(6, 8, 3, groups=2), (2, 6, 5, 5)),
    "transposed": (lambda: nn.ConvTranspose2d(6, 8, 2, 2), (2, 6, 5, 5)),
    "transposed, grouped": (lambda: nn.ConvTranspose2d(6, 8, 2, 2, groups=2), (2, 6, 5, 5)),
    "3d": (lambda: nn.Conv3d(6, 8, 3), (2, 6, 4, 5, 5)),
    "linear": (lambda: nn.Linear(6, 8), (2, 6)),
}
INPUTS, OUTPUTS = torch.tensor([0, 2, 3, 5]), torch.tensor([1, 2, 5, 6])
"""In both halves the same."""


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_gives_some_of_its_outputs_for_some_of_its_inputs(name: str) -> None:
    make, shape = LAYERS[name]
    torch.manual_seed(0)
    model = nn.Sequential(make().double())
    x = torch.randn(*shape, dtype=torch.float64)
    zeroed = torch.zeros_like(x)
    zeroed[:, INPUTS] = x[:, INPUTS]
    want = model(zeroed)[:, OUTPUTS]
    places = {Axis("0", "inputs"): INPUTS, Axis("0", "outputs"): OUTPUTS}
    masked = nn.Sequential(make().double())
    masked.load_state_dict(model.state_dict())
    mask_(masked, places)
    torch.testing.assert_close(masked(x)[:, OUTPUTS], want, rtol=1e-12, atol=1e-12)
    gone = [channel for channel in range(8) if channel not in OUTPUTS.tolist()]
    assert not masked(x)[:, gone].any()
    cut_(model, places)
    torch.testing.assert_close(model(x[:, INPUTS]), want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("layer", [nn.BatchNorm2d(8), nn.BatchNorm2d(8, affine=False), nn.PReLU(8), nn.Conv2d(8, 8, 3, groups=8)], ids=str)
def test_a_layer_that_keeps_channels_apart_loses_them_on_both_sides(layer: nn.Module) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(layer).double()
    with torch.no_grad():
        for tensor in (*model.parameters(), *(own for own in model.buffers() if own.ndim)):
            tensor.uniform_(0.5, 1.5)
    x = torch.randn(2, 8, 5, 5, dtype=torch.float64)
    want = model.eval()(x)[:, OUTPUTS]
    cut_(model, {Axis("0", "outputs"): OUTPUTS})
    torch.testing.assert_close(model(x[:, OUTPUTS]), want, rtol=1e-12, atol=1e-12)


class Chain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(x)).flip(1))


@pytest.mark.parametrize("size", [1, 1e-6])
def test_a_wrong_cut_is_seen_however_small_the_outputs_are(size: float) -> None:
    """The channels are read in the opposite order."""
    torch.manual_seed(0)
    model, images = Chain(), torch.randn(2, 3, 4, 4)
    for parameter in model.second.parameters():
        parameter.data *= size
    first = {Axis("first", "outputs"): torch.tensor([0, 1, 5])}
    assert difference(model, first | {Axis("second", "inputs"): torch.tensor([2, 6, 7])}, images) == ""
    assert "at zero" in difference(model, first | {Axis("second", "inputs"): torch.tensor([0, 1, 5])}, images)
    assert "RuntimeError" in difference(model, first, images)
    assert "outputs become" in difference(model, {Axis("second", "outputs"): torch.tensor([0, 1])}, images)


def test_what_is_undefined_is_no_proof() -> None:
    model, images = Chain(), torch.full((1, 3, 4, 4), float("nan"))
    assert difference(model, {Axis("first", "outputs"): torch.tensor([0]), Axis("second", "inputs"): torch.tensor([7])}, images)
