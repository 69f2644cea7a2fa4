"""Normalisations of networks for segmentation are one operator with what follows them, and nothing else changes."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from senet import backend, create_model
from senet.ops import backend as backends
from senet.ops.passes.torch import TorchKernels
from senet.ops.tail import call

WHAT_IS_FUSED = {
    "plain unet": ("unet", {"norm": "batch", "upsample": "transposed"}, 2 * 5 + 2),
    "unet": ("scse_unet", {"norm": "batch"}, 2 * 5),
    "sd_net": ("scse_sd_net", {}, 4),
    "sd_net of maxima": ("sd_net", {"block": "scse"}, 4),
    "sd_net with SE": ("se_sd_net", {}, 4),
    "plain sd_net": ("sd_net", {}, 0),
}
"""Network, options, and how many operators run in a forward pass: BN and ReLU of a U-Net, BN and block of an SD-Net."""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Offer the passes in torch's operations; return the list of the operators that run."""
    monkeypatch.setitem(backends.BUILDERS, "torch", lambda device: (TorchKernels(), ""))
    ran: list[object] = []
    implementation = call.implementation

    def heard(branch: Tensor, modules: Any) -> Any:
        found = implementation(branch, modules)
        ran.extend([] if found is None else [modules])
        return found

    monkeypatch.setattr(call, "implementation", heard)
    return ran


@pytest.mark.parametrize("training", [True, False], ids=["training", "frozen"])
@pytest.mark.parametrize("name", WHAT_IS_FUSED)
def test_values_gradients_and_statistics_are_the_definitions(run: list[object], name: str, training: bool) -> None:
    network, options, count = WHAT_IS_FUSED[name]
    torch.manual_seed(0)
    made: Any = create_model(network, width=4, kernel=3, depth=2, in_channels=2, num_classes=3, **options)
    model = made.double().train(training)
    twin = copy.deepcopy(model)
    x = torch.randn(2, 2, 13, 10, dtype=torch.float64)
    with backend("torch"):
        y = model(x)
    assert len(run) == count
    with backend("reference"):
        want = twin(x)
    (y * y.detach().cos()).sum().backward()
    (want * want.detach().cos()).sum().backward()
    torch.testing.assert_close(y, want, rtol=1e-12, atol=1e-12)
    for (key, p), q in zip(model.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-9, atol=1e-11, msg=key)
    for key, tensor in twin.state_dict().items():
        torch.testing.assert_close(model.state_dict()[key], tensor, rtol=1e-12, atol=1e-12, msg=key)
