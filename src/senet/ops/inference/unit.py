"""The end of a unit in inference by two passes, where a backend has them: its kernels, on the maps themselves; for compilers, operators."""

import torch
from torch import Tensor

from senet.ops.backend import BEST, REFERENCE, UNREQUESTED, named, requested, requested_or_best
from senet.ops.inference.memory import is_direct
from senet.ops.inference.operators import activate_squeeze_op, excite_join_op, inference_kernels, squeeze_op
from senet.ops.passes.maps import layout, over_positions
from senet.ops.passes.partial_gate import Division, PartialGate, division_of
from senet.ops.passes.terms import Shortcut
from senet.ops.passes.torch_inference import gates_of_parts
from senet.ops.tail.fusible import is_traced

BACKENDS = {"triton"}
"""The backends that have the passes of inference."""


def inference_backend(x: Tensor) -> str | None:
    """Return the backend whose passes of inference take a map; None = none, then units are computed operation by operation.

    Raises:
        UsageError: if `senet.backend` asked for one that cannot run here.
    """
    name = requested() or BEST.get(x.device.type)
    if name not in BACKENDS or x.ndim != 4 or not x.is_floating_point() or is_traced(x):
        return None
    if torch.compiler.is_compiling():
        name = requested_or_best(x.device.type)
        return None if name == REFERENCE or (x.requires_grad and torch.is_grad_enabled()) else name
    if not is_direct(x) or not x.numel():
        return None
    name = requested() or UNREQUESTED
    return name if hasattr(named(name, x.device.type).kernels, "excite_join") else None


def activate_squeeze(c: Tensor, bias: Tensor | None, w1: Tensor, backend: str, *, relu: bool) -> tuple[Tensor, Tensor]:
    """Return x = f(c + bias), written over c where that can be, and W1 mean(x) by parts, (N, P, R).

    Args:
        c: (N, C, H, W), what a convolution without its bias made, which nobody else may hold.
        bias: (C,) or None.
        w1: (R, C).
        backend: what `inference_backend` returned for the convolution's input.
        relu: whether f is a ReLU, else the identity.
    """
    division = _division(c)
    if torch.compiler.is_compiling():
        return activate_squeeze_op(c, bias, w1, *division, relu, backend)
    return c, inference_kernels(backend, c).activate_squeeze(c, bias, w1, division, relu=relu, out=c)


def squeeze(c: Tensor, bias: Tensor | None, w1: Tensor, backend: str) -> Tensor:
    """Return W1 mean(c + bias) by parts, (N, P, R); c is (N, C, H, W)."""
    if torch.compiler.is_compiling():
        return squeeze_op(c, bias, w1, *_division(c), backend)
    c = c.contiguous(memory_format=layout(c))
    return inference_kernels(backend, c).activate_squeeze(c, bias, w1, _division(c), relu=False, out=None)


def excite_join(
    c: Tensor, bias: Tensor | None, gate: PartialGate | None, shortcut: Shortcut | None, backend: str, *, relu: bool, in_place: bool = True
) -> Tensor:
    """Return f(s (c + bias) + shortcut), written over c where that can be.

    Args:
        c: (N, C, H, W), what a convolution without its bias made.
        bias: (C,) or None.
        gate: what is known of s; None = 1.
        shortcut: a map like c, without a scale, or None.
        backend: as for `activate_squeeze`.
        relu: whether f is a ReLU, else the identity.
        in_place: whether nobody else holds c.
    """
    if shortcut is not None and (shortcut.map.shape != c.shape or shortcut.map.dtype != c.dtype):
        return _torch_excite_join(c, bias, gate, shortcut, relu)
    if not torch.compiler.is_compiling():
        c = c.contiguous(memory_format=layout(c))
        out = c if in_place else torch.empty_like(c)
        inference_kernels(backend, c).excite_join(c, bias, gate, shortcut, relu=relu, out=out)
        return out
    assert gate is not None, "a compiler fuses what has no gate itself"
    end = (None, None) if shortcut is None else (shortcut.map, shortcut.shift)
    return excite_join_op(c, bias, gate.parts, gate.b1, gate.w2, gate.b2, gate.name, gate.gain, *end, relu, backend)


def _torch_excite_join(c: Tensor, bias: Tensor | None, gate: PartialGate | None, shortcut: Shortcut, relu: bool) -> Tensor:
    """Compute `excite_join` with a shortcut that is to be broadcast or promoted, in the types that torch's operations give."""
    y = c if bias is None else c + over_positions(bias).to(c.dtype)
    y = y if gate is None else y * over_positions(gates_of_parts(gate, gate.parts.dtype)).to(y.dtype)
    y = y + shortcut.map
    y = y if shortcut.shift is None else y + over_positions(shortcut.shift).to(y.dtype)
    return torch.relu(y) if relu else y


def _division(c: Tensor) -> Division:
    return division_of(c.shape[0], c.shape[1], c.shape[2] * c.shape[3])
