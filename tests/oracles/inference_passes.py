"""The passes of inference in Triton against their definition in float64; for a process of Triton's interpreter, and for a device."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from oracles.passes import LAYOUTS
from senet.ops.passes.partial_gate import Division, PartialGate, division_of
from senet.ops.passes.terms import Shortcut
from senet.ops.passes.torch_inference import TorchInferenceKernels

LIMITS = {torch.float64: (1e-12, 1e-12), torch.float32: (3e-6, 3e-6), torch.float16: (1e-3, 1e-5), torch.bfloat16: (8e-3, 1e-5)}
"""The largest errors of maps and of hidden units. Triton's interpreter cuts bfloat16 off where a device rounds."""


@dataclass(frozen=True)
class Case:
    """Maps (N, C, H, W), the units of a block's first layer, its gate (None = no block), and what else ends a unit."""

    shape: tuple[int, int, int, int] = (2, 9, 5, 7)
    hidden: int = 5
    gate: str | None = "sigmoid"
    gain: float = 1.0
    bias: bool = True
    shortcut: str | None = "map"
    relu: bool = True
    layout: str = "NHWC"
    dtype: torch.dtype = torch.float64
    weights: torch.dtype | None = None
    division: tuple[int, int] | None = None
    device: str = "cpu"

    def draw(self, *shape: int) -> Tensor:
        """Return a tensor of the type of sums, or of the weights if they have one of their own."""
        wide = torch.promote_types(self.dtype, torch.float32)
        return torch.randn(shape, device=self.device).to(wide if self.weights is None else self.weights)

    def map(self) -> Tensor:
        """Return maps."""
        made = torch.randn(self.shape, device=self.device).to(self.dtype)
        return made.contiguous(memory_format=LAYOUTS[self.layout])


def kernels():
    """Return the kernels; imported late, since triton is told by the environment whether it interprets."""
    from senet.ops.passes.triton.passes import TritonKernels

    return TritonKernels()


def _double(v: Tensor | None) -> Tensor | None:
    return None if v is None else v.double()


def largest(found: Tensor, want: Tensor) -> float:
    return float((found.double() - want).abs().max()) / max(1.0, float(want.abs().max()))


def errors(case: Case) -> dict[str, float]:
    """Return the largest error of the activated map, of the hidden units with a map and without, and of the unit's end, as shares."""
    torch.manual_seed(0)
    passes, exact = kernels(), TorchInferenceKernels()
    n, channels = case.shape[:2]
    c, bias, w1 = case.map(), case.draw(channels) if case.bias else None, case.draw(case.hidden, channels)
    division = division_of(n, channels, case.shape[2] * case.shape[3]) if case.division is None else Division(*case.division)
    x, want_x = torch.full_like(c, torch.nan), torch.empty_like(c, dtype=torch.float64)
    parts = passes.activate_squeeze(c, bias, w1, division, relu=case.relu, out=x)
    exact.activate_squeeze(c.double(), _double(bias), w1.double(), division, relu=case.relu, out=want_x)
    of_stored = exact.activate_squeeze(x.double(), None, w1.double(), division, relu=False, out=None)
    alone = passes.activate_squeeze(x, None, w1, division, relu=False, out=None)
    assert parts.shape == of_stored.shape == (n, division.parts(channels), case.hidden)

    y, r = torch.full_like(c, torch.nan), case.map()
    gate = None
    if case.gate is not None:
        gate = PartialGate(parts, case.draw(case.hidden), case.draw(channels, case.hidden), case.draw(channels), case.gate, case.gain)
    shortcut = None if case.shortcut is None else Shortcut(r, shift=case.draw(channels) if case.shortcut == "projected" else None)
    passes.excite_join(c, bias, gate, shortcut, relu=case.relu, out=y)
    want_y = torch.empty_like(want_x)
    exact.excite_join(c.double(), _double(bias), _exact_gate(gate), _exact_shortcut(shortcut), relu=case.relu, out=want_y)
    assert x.is_contiguous(memory_format=LAYOUTS[case.layout])
    units = {"hidden": largest(parts.sum(1), of_stored.sum(1)), "read": largest(alone.sum(1), of_stored.sum(1))}
    return units | {"x": largest(x, want_x), "y": largest(y, want_y)}


def _exact_gate(gate: PartialGate | None) -> PartialGate | None:
    if gate is None:
        return None
    vectors = (gate.b1, gate.w2, gate.b2)
    b1, w2, b2 = (_double(v) for v in vectors)
    assert w2 is not None
    return PartialGate(gate.parts.double(), b1, w2, b2, gate.name, gate.gain)


def _exact_shortcut(shortcut: Shortcut | None) -> Shortcut | None:
    return None if shortcut is None else Shortcut(shortcut.map.double(), shift=_double(shortcut.shift))


def check(case: Case, found: dict[str, float]) -> None:
    """Raise AssertionError unless the errors are within the limits of the case's type."""
    of_map, of_vector = LIMITS[case.dtype]
    beyond = {key: error for key, error in found.items() if not error <= (of_map if key in ("x", "y") else of_vector)}
    assert not beyond, (case, beyond)


def errors_of_shared_programs(case: Case, enough: int) -> dict[str, float]:
    """Return `errors` where a program has several images already beyond so few programs."""
    from senet.ops.passes.triton import inference_passes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inference_passes, "ENOUGH", dict.fromkeys(inference_passes.ENOUGH, enough))
        return errors(case)


def in_place(case: Case) -> bool:
    """Return whether both passes write over what they read just what they write elsewhere."""
    torch.manual_seed(0)
    passes, c, bias = kernels(), case.map(), case.draw(case.shape[1])
    w1, division = case.draw(case.hidden, case.shape[1]), division_of(*case.shape[:2], case.shape[2] * case.shape[3])
    x = torch.empty_like(c)
    parts = passes.activate_squeeze(c, bias, w1, division, relu=True, out=x)
    again, over = c.clone(), c.clone()
    same = torch.equal(parts, passes.activate_squeeze(again, bias, w1, division, relu=True, out=again)) and torch.equal(x, again)
    gate = PartialGate(parts, None, case.draw(case.shape[1], case.hidden), None, "sigmoid")
    passes.excite_join(c, bias, gate, Shortcut(c), relu=True, out=x)
    passes.excite_join(over, bias, gate, Shortcut(c), relu=True, out=over)
    return same and torch.equal(x, over)
