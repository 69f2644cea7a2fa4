"""Convolutions that end units: where they take their gates from, and what they compute."""

import pytest
import torch
from torch import nn

from senet import ChannelSE
from senet.deploy.layers import CommutedGate, FusedConv2d, OutputGate

FORMS = [  # inputs, outputs, kernel, gate
    (4, 16, 1, CommutedGate),
    (8, 8, 1, CommutedGate),
    (16, 8, 1, OutputGate),
    (4, 16, 3, CommutedGate),
    (8, 8, 3, OutputGate),
]


@pytest.mark.parametrize("gain", [1.0, 2.0])
@pytest.mark.parametrize(("inputs", "outputs", "kernel", "kind"), FORMS, ids=str)
def test_gates_come_from_the_smaller_map(inputs: int, outputs: int, kernel: int, kind: type[nn.Module], gain: float) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2).double()
    se = ChannelSE(outputs, 2).double()
    x, shortcut = torch.randn(2, inputs, 6, 5, dtype=torch.float64), torch.randn(2, outputs, 6, 5, dtype=torch.float64)
    fused = FusedConv2d(conv, conv.weight.detach(), conv.bias, se=se, gain=gain, relu=True)
    assert [type(gate) for gate in (fused.gate, fused.late_gate) if gate is not None] == [kind]
    with torch.no_grad():
        want = torch.relu(gain * se(conv(x)) + shortcut)
        torch.testing.assert_close(fused(x, shortcut), want, rtol=1e-12, atol=1e-12)
