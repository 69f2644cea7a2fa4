"""The fused tail as two operators of torch, `senet::tail` and `senet::tail_backward`: what compilers see of it.

Arguments have the names of `TailTensors`, `Saved` and `Form`. Results are lists without what a form does not have: operators cannot return
None.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from senet.ops.autocast import precisely
from senet.ops.backend import named
from senet.ops.passes.maps import layout, map_like, precision
from senet.ops.passes.protocol import Kernels
from senet.ops.passes.torch import TorchKernels
from senet.ops.tail.form import SCHEMA, Form
from senet.ops.tail.rows import SAVED, TENSORS, Saved, TailTensors, TensorRow

SAVED_VECTORS = SAVED[3:]
"""Names of what is saved beside maps and mask: what the forward operator returns of it."""
OPTIONAL = ", ".join(f"Tensor? {name}" for name in TENSORS)
OPTIONS = ", ".join((*SCHEMA, "str backend"))
FORWARD = f"(Tensor x, Tensor? shortcut, {OPTIONAL}, {OPTIONS}) -> Tensor[]"
BACKWARD = (
    f"(Tensor dy, Tensor x, {', '.join(f'Tensor? saved_{name}' for name in SAVED[1:])}, {OPTIONAL}, {OPTIONS}, bool has_shortcut)"
    " -> Tensor[]"
)


def tail_by_name(backend: str, form: Form, x: Tensor, r: Tensor | None, *tensors: Tensor | None) -> TensorRow:
    """Compute what `TailFunction` does, as an operator that a compiler keeps whole."""
    results = torch.ops.senet.tail(x, r, *tensors, *form.arguments(), backend)
    found = dict(zip(_present(form, TailTensors(*tensors)), results[1:], strict=False))
    branch = (found["mean"], found["var"]) if form.use_batch else (None, None)
    shortcut = (found["shortcut_mean"], found["shortcut_var"]) if form.shortcut_use_batch else (None, None)
    return (results[0], *branch, *shortcut)


def _present(form: Form, tensors: TailTensors) -> list[str]:
    """Return the names of what the forward operator returns behind y; a mask that is not y itself comes last, and is not among them."""
    projected, gated = form.shortcut_use_batch is not None, form.gate is not None
    there = {"var": form.use_batch, "shortcut_var": form.shortcut_use_batch, "position_gates": tensors.position_weight is not None}
    there |= dict.fromkeys(("shortcut_mean", "shortcut_inverse_std", "shortcut_scale"), projected)
    there |= dict.fromkeys(("squeeze", "hidden", "channel_gates"), gated)
    return [name for name in ("var", "shortcut_var", *SAVED_VECTORS) if there.get(name, True)]


@torch.library.custom_op("senet::tail", mutates_args=(), schema=FORWARD)
def _tail(x: Tensor, r: Tensor | None, *rest: Any) -> list[Tensor]:
    """Compute y, what `_present` says, and the ReLU's mask if that is not y itself."""
    tensors, form, backend = split_arguments(rest)
    with precisely(x):
        output = form.tail(tensors).forward(_kernels(backend, x), x, r)
    y, _, var, _, shortcut_var = output.row()
    mask = output.saved.relu_mask
    row = (y, var, shortcut_var, *output.saved.row()[3:], None if mask is y else mask)
    return fresh([v for v in row if v is not None], (x, r, *tensors.row()))


@_tail.register_fake
def _(x: Tensor, r: Tensor | None, *rest: Any) -> list[Tensor]:
    tensors, form, backend = split_arguments(rest)
    of_map = {"means": x.shape[:2], "squeeze": x.shape[:2], "channel_gates": x.shape[:2]}
    of_map |= {"position_gates": (len(x), 1, *x.shape[2:]), "hidden": (len(x), 0 if tensors.w1 is None else len(tensors.w1))}
    vectors = [x.new_empty(of_map.get(name, x.shape[1:2]), dtype=precision(x)) for name in _present(form, tensors)]
    mask = _kernels(backend, x).mask_like(x) if form.relu else None
    return [map_like(x), *vectors, *([] if mask is None else [mask])]


@torch.library.custom_op("senet::tail_backward", mutates_args=(), schema=BACKWARD)
def _tail_backward(dy: Tensor, *rest: Any) -> list[Tensor]:
    """Compute the gradients of x, of the shortcut unless it is dy, and of the parameters that are there."""
    saved, (tensors, form, backend) = _saved(rest), split_arguments(rest[len(SAVED) : -1])
    with precisely(dy):
        of_y = dy.contiguous(memory_format=layout(saved.x))
        found = form.tail(tensors).backward(_kernels(backend, dy), of_y, saved)
    row = (found.x, found.shortcut if _has_own(form, saved.has_shortcut) else None, *found.row(tensors))
    return fresh([v for v in row if v is not None], (dy, *saved.row(), *tensors.row()))


@_tail_backward.register_fake
def _(dy: Tensor, *rest: Any) -> list[Tensor]:
    saved, (tensors, form, _) = _saved(rest), split_arguments(rest[len(SAVED) : -1])
    maps = 1 + _has_own(form, saved.has_shortcut)
    return [*(map_like(saved.x) for _ in range(maps)), *(torch.empty_like(v) for v in tensors.row() if v is not None)]


def _save(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    x, r, *rest = inputs
    tensors, ctx.form, ctx.backend = split_arguments(rest)
    present = _present(ctx.form, tensors)
    found = dict(zip(present, output[1:], strict=False))
    mask = None if not ctx.form.relu else output[-1] if len(output) > 1 + len(present) else output[0]
    saved = (x, None if ctx.form.shortcut_use_batch is None else r, mask, *(found.get(name) for name in SAVED_VECTORS))
    ctx.save_for_backward(*saved, *tensors.parameters())
    ctx.has_shortcut = r is not None


def _differentiate(ctx: Any, gradients: list[Tensor | None]) -> tuple[Tensor | None, ...]:
    dy, form = gradients[0], ctx.form
    options = (None,) * (len(SCHEMA) + 1)
    if dy is None:
        return (None, None, *(None,) * len(TENSORS), *options)
    row = ctx.saved_tensors
    found = iter(torch.ops.senet.tail_backward(dy, *row, *form.arguments(), ctx.backend, ctx.has_shortcut))
    dx = next(found)
    dr = next(found) if _has_own(form, ctx.has_shortcut) else dy if ctx.has_shortcut else None
    return (dx, dr, *(None if v is None else next(found) for v in row[len(SAVED) :]), *options)


_tail.register_autograd(_differentiate, setup_context=_save)


def split_arguments(rest: Sequence[Any]) -> tuple[TailTensors, Form, str]:
    """Return tensors, form and backend out of the arguments that follow the maps."""
    tensors, options = rest[: len(TENSORS)], rest[len(TENSORS) :]
    return TailTensors(*tensors), Form(*options[:-1]), options[-1]


def _saved(rest: Sequence[Any]) -> Saved:
    return Saved.of(rest[: len(SAVED)], has_shortcut=rest[-1])


def _kernels(backend: str, x: Tensor) -> Kernels:
    """Return the passes of a backend; where the best one cannot be had, their definition."""
    return named(backend, x.device.type).kernels or TorchKernels()


def _has_own(form: Form, has_shortcut: bool) -> bool:
    """Return whether the shortcut's gradient is a map of its own, and not dy."""
    return has_shortcut and (form.relu or form.shortcut_use_batch is not None)


def fresh(found: list[Tensor], given: Sequence[Tensor | None]) -> list[Tensor]:
    """Copy what shares its memory with an argument or an earlier result: an operator's results may not."""
    taken = {tensor.untyped_storage().data_ptr() for tensor in given if tensor is not None}
    row = []
    for tensor in found:
        row.append(tensor.clone() if tensor.untyped_storage().data_ptr() in taken else tensor)
        taken.add(row[-1].untyped_storage().data_ptr())
    return row
