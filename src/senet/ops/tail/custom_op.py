"""The fused tail as two operators of torch, `senet::tail` and `senet::tail_backward`: what compilers see of it.

They take and return rows of tensors without those that are None; `places` says which places of the whole row they have.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from senet.ops.backend import named
from senet.ops.passes.maps import layout, precision
from senet.ops.passes.protocol import Kernels
from senet.ops.passes.torch import TorchKernels
from senet.ops.tail.autograd import COUNT, Form, gradients_of, lasting
from senet.ops.tail.channel import Saved
from senet.ops.tail.spatial import SpatialSaved

Row = list[Tensor | None]

SMALL = SpatialSaved.COUNT
"""How many small tensors are saved at most; those of tails without gates of positions are the first `Saved.COUNT`."""
WEIGHT = COUNT - 2
"""Place of the projection's weight among the tensors of a tail."""


def tail_by_name(backend: str, form: Form, x: Tensor, r: Tensor | None, *tensors: Tensor | None) -> Row:
    """Compute what `TailFunction` does, as an operator that a compiler keeps whole."""
    row, places = _dense((x, r, *tensors))
    filled = _results(form, tensors[WEIGHT])
    found = torch.ops.senet.tail(row, places, *form[:7], backend)
    y, var, r_var, *small = _sparse(found[: len(filled)], filled, 3 + SMALL)
    saved = Saved.of(small[: Saved.COUNT])
    mu, r_mu = (None if v is None or a is None else a.mu for v, a in ((var, saved.affine), (r_var, saved.r_affine)))
    return [y, mu, var, r_mu, r_var]


@torch.library.custom_op("senet::tail", mutates_args=())
def _tail(
    tensors: Sequence[Tensor],
    places: Sequence[int],
    batch: bool | None,
    eps: float,
    gate: str | None,
    gain: float,
    r_batch: bool | None,
    r_eps: float,
    relu: bool,
    backend: str,
) -> list[Tensor]:
    """Compute y, the unbiased variances, what `Saved` holds, and what was kept of y if that is not y itself."""
    form = Form(batch, eps, gate, gain, r_batch, r_eps, relu)
    x, r, *rest = _sparse(tensors, places, 2 + COUNT)
    assert x is not None
    with torch.autocast(x.device.type, enabled=False):
        passed = form.tail(tuple(rest)).forward(_kernels(backend, x), x, r)
    _, var, _, r_var = passed.statistics
    row, _ = _dense((passed.y, var, r_var, *passed.saved.tensors()))
    if passed.kept is not None and passed.kept is not passed.y:
        row.append(passed.kept)
    return _fresh(row, tensors)


@torch.library.custom_op("senet::tail_backward", mutates_args=())
def _tail_backward(
    tensors: Sequence[Tensor],
    places: Sequence[int],
    batch: bool | None,
    eps: float,
    gate: str | None,
    gain: float,
    r_batch: bool | None,
    r_eps: float,
    relu: bool,
    backend: str,
    has_shortcut: bool,
) -> list[Tensor]:
    """Compute the gradients of x, of r unless it is dy, and of the tensors that have one."""
    form = Form(batch, eps, gate, gain, r_batch, r_eps, relu)
    dy, x, r, kept, *rest = _sparse(tensors, places, 4 + SMALL + COUNT)
    assert dy is not None
    assert x is not None
    parameters = tuple(rest[SMALL:])
    tail: Any = form.tail(parameters)
    saved = tail.saved_type.of(rest[: tail.saved_type.COUNT])
    dy = dy.contiguous(memory_format=layout(x))
    with torch.autocast(x.device.type, enabled=False):
        found = tail.backward(_kernels(backend, x), dy, kept, x, r, saved, has_shortcut)
    row, _ = _dense((found.x, found.r if _has_own(form, has_shortcut) else None, *gradients_of(found, parameters)))
    return _fresh(row, tensors)


@_tail.register_fake
def _(tensors: Sequence[Tensor], places: Sequence[int], *rest: Any) -> list[Tensor]:
    form, backend = Form(*rest[:7]), rest[7]
    x, *others = _sparse(tensors, places, 2 + COUNT)
    assert x is not None
    w1, weight = others[1 + WEIGHT - 4], others[1 + WEIGHT]
    channels, maps, hidden = (x.shape[1],), tuple(x.shape[:2]), (len(x), 0 if w1 is None else len(w1))
    shapes = [channels, channels, maps, *[channels] * 6, maps, hidden, maps, channels, (len(x), 1, *x.shape[2:])]
    small = [x.new_empty(shapes[place - 1], dtype=precision(x)) for place in _results(form, weight)[1:]]
    kept = _kernels(backend, x).kept_like(x) if form.relu else None
    return [_map_like(x), *small, *([] if kept is None else [kept])]


@_tail_backward.register_fake
def _(tensors: Sequence[Tensor], places: Sequence[int], *rest: Any) -> list[Tensor]:
    form, has_shortcut = Form(*rest[:7]), rest[8]
    _, x, *others = _sparse(tensors, places, 4 + SMALL + COUNT)
    assert x is not None
    parameters = [torch.empty_like(v) for v in others[2 + SMALL :] if v is not None]
    return [_map_like(x), *([_map_like(x)] if _has_own(form, has_shortcut) else []), *parameters]


def _save(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    tensors, places, *rest = inputs
    form = Form(*rest[:7])
    x, r, *parameters = _sparse(tensors, places, 2 + COUNT)
    filled = _results(form, parameters[WEIGHT])
    y, _, _, *small = _sparse(output[: len(filled)], filled, 3 + SMALL)
    kept = None if not form.relu else output[-1] if len(output) > len(filled) else y
    row, ctx.kept_places = _dense((x, None if form.r_batch is None else r, kept, *small, *lasting(tuple(parameters))))
    ctx.save_for_backward(*row)
    ctx.places, ctx.form, ctx.backend, ctx.has_shortcut = places, form, rest[7], r is not None


def _differentiate(ctx: Any, gradients: list[Tensor | None]) -> tuple[Any, ...]:
    dy, form = gradients[0], ctx.form
    if dy is None:
        return ([None] * len(ctx.places), *(None,) * 9)
    places = [0, *(place + 1 for place in ctx.kept_places)]
    found = torch.ops.senet.tail_backward([dy, *ctx.saved_tensors], places, *form[:7], ctx.backend, ctx.has_shortcut)
    own = _has_own(form, ctx.has_shortcut)
    whole: Row = [found[0], found[1] if own else dy if ctx.has_shortcut else None, *(None,) * COUNT]
    with_gradient = [place - 2 - SMALL for place in places if place >= 4 + SMALL]
    for place, gradient in zip(with_gradient, found[1 + own :], strict=True):
        whole[place] = gradient
    return ([whole[place] for place in ctx.places], *(None,) * 9)


_tail.register_autograd(_differentiate, setup_context=_save)


def _kernels(backend: str, x: Tensor) -> Kernels:
    """Return the passes of a backend; where the best one cannot be had, their definition."""
    return named(backend, x.device.type).kernels or TorchKernels()


def _results(form: Form, weight: Tensor | None) -> list[int]:
    """Return which places of (y, var, r_var, *SpatialSaved) a tail of this form, with this projection, fills."""
    projected, gated, spatial = form.r_batch is not None, form.gate is not None, weight is not None
    has = (True, bool(form.batch), bool(form.r_batch), *[True] * 4, *[projected] * 3, *[gated] * 3, *[spatial] * 2)
    return [place for place, there in enumerate(has) if there]


def _has_own(form: Form, has_shortcut: bool) -> bool:
    """Return whether the shortcut's gradient is a map of its own, and not dy."""
    return has_shortcut and (form.relu or form.r_batch is not None)


def _dense(row: Iterable[Tensor | None]) -> tuple[list[Tensor], list[int]]:
    """Return the tensors of a row, and their places in it."""
    there = [(place, tensor) for place, tensor in enumerate(row) if tensor is not None]
    return [tensor for _, tensor in there], [place for place, _ in there]


def _sparse(tensors: Sequence[Tensor], places: Sequence[int], length: int) -> Row:
    """Put tensors back to their places."""
    row: Row = [None] * length
    for place, tensor in zip(places, tensors, strict=True):
        row[place] = tensor
    return row


def _fresh(found: list[Tensor], given: Sequence[Tensor]) -> list[Tensor]:
    """Copy what shares its memory with an argument or an earlier result: an operator's results may not."""
    taken = {tensor.untyped_storage().data_ptr() for tensor in given}
    row = []
    for tensor in found:
        row.append(tensor.clone() if tensor.untyped_storage().data_ptr() in taken else tensor)
        taken.add(row[-1].untyped_storage().data_ptr())
    return row


def _map_like(x: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=layout(x))
