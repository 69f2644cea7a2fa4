"""The passes of inference as operators of torch: what compilers see of them. They write to nothing that they are given.

`senet::activate_squeeze`, `senet::squeeze` and `senet::excite_join`; arguments are those of `InferenceKernels`.
"""

import torch
from torch import Tensor

from senet.ops.backend import named
from senet.ops.passes.maps import layout, map_like, precision
from senet.ops.passes.partial_gate import Division, PartialGate
from senet.ops.passes.protocol import InferenceKernels
from senet.ops.passes.terms import Shortcut
from senet.ops.passes.torch_inference import TorchInferenceKernels


def inference_kernels(backend: str, x: Tensor) -> InferenceKernels:
    """Return a backend's passes of inference; where it has none, their definition."""
    kernels = named(backend, x.device.type).kernels
    return kernels if hasattr(kernels, "excite_join") else TorchInferenceKernels()  # pyright: ignore[reportReturnType]


@torch.library.custom_op("senet::activate_squeeze", mutates_args=())
def activate_squeeze_op(
    c: Tensor, bias: Tensor | None, w1: Tensor, channels: int, spans: int, relu: bool, backend: str
) -> tuple[Tensor, Tensor]:
    """Return x = f(c + bias) and W1 mean(x) by parts."""
    c = c.contiguous(memory_format=layout(c))
    x = torch.empty_like(c)
    return x, inference_kernels(backend, c).activate_squeeze(c, bias, w1, Division(channels, spans), relu=relu, out=x)


@activate_squeeze_op.register_fake
def _(c: Tensor, bias: Tensor | None, w1: Tensor, channels: int, spans: int, relu: bool, backend: str) -> tuple[Tensor, Tensor]:
    return map_like(c), _parts_like(c, w1, channels, spans)


@torch.library.custom_op("senet::squeeze", mutates_args=())
def squeeze_op(c: Tensor, bias: Tensor | None, w1: Tensor, channels: int, spans: int, backend: str) -> Tensor:
    """Return W1 mean(c + bias) by parts."""
    c = c.contiguous(memory_format=layout(c))
    return inference_kernels(backend, c).activate_squeeze(c, bias, w1, Division(channels, spans), relu=False, out=None)


@squeeze_op.register_fake
def _(c: Tensor, bias: Tensor | None, w1: Tensor, channels: int, spans: int, backend: str) -> Tensor:
    return _parts_like(c, w1, channels, spans)


@torch.library.custom_op("senet::excite_join", mutates_args=())
def excite_join_op(
    c: Tensor,
    bias: Tensor | None,
    parts: Tensor,
    b1: Tensor | None,
    w2: Tensor,
    b2: Tensor | None,
    gate: str,
    gain: float,
    shortcut: Tensor | None,
    shortcut_bias: Tensor | None,
    relu: bool,
    backend: str,
) -> Tensor:
    """Return f(s (c + bias) + shortcut + shortcut_bias), s the gates of what `PartialGate` says."""
    c = c.contiguous(memory_format=layout(c))
    y = torch.empty_like(c)
    added = None if shortcut is None else Shortcut(shortcut, shift=shortcut_bias)
    inference_kernels(backend, c).excite_join(c, bias, PartialGate(parts, b1, w2, b2, gate, gain), added, relu=relu, out=y)
    return y


@excite_join_op.register_fake
def _(c: Tensor, *rest: object) -> Tensor:
    return map_like(c)


def _parts_like(c: Tensor, w1: Tensor, channels: int, spans: int) -> Tensor:
    return c.new_empty(len(c), Division(channels, spans).parts(c.shape[1]), len(w1), dtype=precision(c))
