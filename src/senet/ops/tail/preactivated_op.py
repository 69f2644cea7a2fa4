"""The fused pre-activation tail as two operators of torch, `senet::preactivated_tail` and `senet::preactivated_tail_backward`.

Arguments and results are as `senet.ops.tail.custom_op` has them. Only tails with a block are operators: without one, what surrounds a sum
gives a compiler as much to fuse as the operator does.
"""

from typing import Any

import torch
from torch import Tensor

from senet.ops.autocast import precisely
from senet.ops.backend import named
from senet.ops.passes.maps import layout, map_like, precision
from senet.ops.passes.protocol import PairKernels
from senet.ops.passes.torch import TorchPairKernels
from senet.ops.tail.autograd import pair_tail_of
from senet.ops.tail.custom_op import OPTIONAL, OPTIONS, fresh, split_arguments
from senet.ops.tail.form import SCHEMA, Form
from senet.ops.tail.preactivated import COUNT, PreactivatedSaved
from senet.ops.tail.rows import TENSORS, TensorRow

VECTORS = ("mean", "inverse_std", "scale", "shift", "means", "uv", "squeeze", "hidden", "gates")
"""Names of what `PreactivatedSaved` has beside maps: statistics (C,), means, uv, squeeze and gates (N, C), hidden units (N, h)."""
_FORWARD = f"(Tensor u, Tensor r, {OPTIONAL}, {OPTIONS}) -> Tensor[]"
_BACKWARD = (
    f"(Tensor? dv, Tensor da, Tensor v, Tensor a, {', '.join(f'Tensor saved_{name}' for name in VECTORS[:4])}, Tensor u, "
    f"{', '.join(f'Tensor saved_{name}' for name in VECTORS[4:])}, {OPTIONAL}, {OPTIONS}) -> Tensor[]"
)


def preactivated_by_name(backend: str, form: Form, u: Tensor, r: Tensor, *tensors: Tensor | None) -> TensorRow:
    """Compute what `PreactivatedFunction` does for a unit with a block, as an operator that a compiler keeps whole."""
    v, a, *found = torch.ops.senet.preactivated_tail(u, r, *tensors, *form.arguments(), backend)
    statistics = (found[0], found[-1]) if form.use_batch else (None, None)
    return (v, a, *statistics)


@torch.library.custom_op("senet::preactivated_tail", mutates_args=(), schema=_FORWARD)
def _preactivated_tail(u: Tensor, r: Tensor, *rest: Any) -> list[Tensor]:
    """Compute v, a, `VECTORS`, and the batch's variance if it is used."""
    tensors, form, backend = split_arguments(rest)
    with precisely(u):
        output = pair_tail_of(form, tensors).forward(_pair_kernels(backend, u), u, r)
    v, a, mean, inverse_std, scale, shift, _, *of_branch = output.saved.row()
    row = (v, a, mean, inverse_std, scale, shift, *of_branch, output.row()[3])
    return fresh([value for value in row if value is not None], (u, r, *tensors.row()))


@_preactivated_tail.register_fake
def _(u: Tensor, r: Tensor, *rest: Any) -> list[Tensor]:
    tensors, form, _ = split_arguments(rest)
    hidden = (len(u), 0 if tensors.w1 is None else len(tensors.w1))
    of_branch = (hidden if name == "hidden" else u.shape[:2] for name in VECTORS[4:])
    shapes = (*(u.shape[1:2] for _ in VECTORS[:4]), *of_branch, *([u.shape[1:2]] if form.use_batch else []))
    vectors = [u.new_empty(shape, dtype=precision(u)) for shape in shapes]
    return [map_like(u), map_like(u), *vectors]


@torch.library.custom_op("senet::preactivated_tail_backward", mutates_args=(), schema=_BACKWARD)
def _preactivated_tail_backward(dv: Tensor | None, da: Tensor, *rest: Any) -> list[Tensor]:
    """Compute the gradients of u, of r, and of the parameters that are there."""
    saved, (tensors, form, backend) = _saved(rest), split_arguments(rest[COUNT:])
    memory_format = layout(saved.v)
    da, dv = da.contiguous(memory_format=memory_format), None if dv is None else dv.contiguous(memory_format=memory_format)
    with precisely(da):
        found = pair_tail_of(form, tensors).backward(_pair_kernels(backend, da), dv, da, saved)
    row = (found.x, found.shortcut, *found.row(tensors))
    return fresh([value for value in row if value is not None], (dv, da, *saved.row(), *tensors.row()))


@_preactivated_tail_backward.register_fake
def _(dv: Tensor | None, da: Tensor, v: Tensor, *rest: Any) -> list[Tensor]:
    tensors, _, _ = split_arguments(rest[COUNT - 1 :])
    return [map_like(v), map_like(v), *(torch.empty_like(tensor) for tensor in tensors.row() if tensor is not None)]


def _save(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    u, _, *rest = inputs
    tensors, ctx.form, ctx.backend = split_arguments(rest)
    v, a, *vectors = output[: 2 + len(VECTORS)]
    ctx.save_for_backward(v, a, *vectors[:4], u, *vectors[4:], *tensors.parameters())


def _differentiate(ctx: Any, gradients: list[Tensor | None]) -> tuple[Tensor | None, ...]:
    row, form = ctx.saved_tensors, ctx.form
    options = (None,) * (len(SCHEMA) + 1)
    dv, da = gradients[:2]
    if dv is None and da is None:
        return (None, None, *(None,) * len(TENSORS), *options)
    da = torch.zeros_like(row[1]) if da is None else da
    found = iter(torch.ops.senet.preactivated_tail_backward(dv, da, *row, *form.arguments(), ctx.backend))
    return (next(found), next(found), *(None if v is None else next(found) for v in row[COUNT:]), *options)


_preactivated_tail.register_autograd(_differentiate, setup_context=_save)


def _saved(rest: Any) -> PreactivatedSaved:
    return PreactivatedSaved.of(rest[:COUNT])


def _pair_kernels(backend: str, x: Tensor) -> PairKernels:
    """Return the passes of a backend; where the best one has none over pairs, or cannot be had, their definition."""
    kernels = named(backend, x.device.type).kernels
    return kernels if isinstance(kernels, PairKernels) else TorchPairKernels()
