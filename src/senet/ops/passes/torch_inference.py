"""The passes of inference in torch's operations: what those of other backends are to compute."""

import torch
import torch.nn.functional as F
from torch import Tensor

from senet.ops.passes.maps import over_positions, precision
from senet.ops.passes.partial_gate import Division, PartialGate
from senet.ops.passes.terms import Shortcut
from senet.ops.reference import GATE, squeeze_avg


class TorchInferenceKernels:
    """The definition of `InferenceKernels`, of whole maps: the first part of an image has all, the others nothing."""

    def activate_squeeze(self, c: Tensor, bias: Tensor | None, w1: Tensor, division: Division, *, relu: bool, out: Tensor | None) -> Tensor:
        """See `InferenceKernels`."""
        wide = precision(c)
        x = c.to(wide) if bias is None else c.to(wide) + over_positions(bias)
        x = (torch.relu(x) if relu else x).to(c.dtype)
        if out is not None:
            out.copy_(x)
        parts = c.new_zeros(len(c), division.parts(c.shape[1]), len(w1), dtype=wide)
        parts[:, 0] = F.linear(squeeze_avg(x, wide), w1.to(wide))
        return parts

    def excite_join(
        self, c: Tensor, bias: Tensor | None, gate: PartialGate | None, shortcut: Shortcut | None, *, relu: bool, out: Tensor
    ) -> None:
        """See `InferenceKernels`."""
        wide = precision(c)
        v = c.to(wide) if bias is None else c.to(wide) + over_positions(bias)
        v = v if gate is None else v * over_positions(gates_of_parts(gate, wide))
        if shortcut is not None:
            v = v + shortcut.map
            v = v if shortcut.shift is None else v + over_positions(shortcut.shift)
        out.copy_(torch.relu(v) if relu else v)


def gates_of_parts(gate: PartialGate, dtype: torch.dtype) -> Tensor:
    """Return the gates (N, C) in this type."""
    hidden = gate.parts.to(dtype).sum(1)
    hidden = torch.relu(hidden if gate.b1 is None else hidden + gate.b1)
    s = GATE[gate.name](F.linear(hidden, gate.w2.to(dtype), None if gate.b2 is None else gate.b2.to(dtype)))
    return s if gate.gain == 1 else s * gate.gain
