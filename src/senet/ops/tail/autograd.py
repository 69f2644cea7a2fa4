"""The tails as autograd functions."""

from typing import Any

import torch
from torch import Tensor

from senet.ops.autocast import precisely
from senet.ops.passes.maps import layout
from senet.ops.passes.protocol import Kernels, PairKernels
from senet.ops.tail.form import Form
from senet.ops.tail.preactivated import COUNT, PreactivatedSaved, PreactivatedTail
from senet.ops.tail.rows import SAVED, Saved, TailTensors, TensorRow

FIRST_ONLY = "the fused residual tail has a first derivative only, and no batching rule; use senet.backend('reference')"


class TailFunction(torch.autograd.Function):
    """Tail of a unit: y, and mean and variance of each normalisation that used the batch's, for the running averages."""

    @staticmethod
    def forward(ctx: Any, kernels: Kernels, form: Form, x: Tensor, r: Tensor | None, *tensors: Tensor | None) -> TensorRow:
        """Compute `Output.row`; x and r are (N, C, H, W), tensors a row of `TailTensors`."""
        named = TailTensors(*tensors)
        with precisely(x):
            output = form.tail(named).forward(kernels, x, r)
        ctx.save_for_backward(*output.saved.row(), *named.parameters())
        ctx.kernels, ctx.form, ctx.has_shortcut = kernels, form, r is not None
        row = output.row()
        ctx.mark_non_differentiable(*(v for v in row[1:] if v is not None))
        return row

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> TensorRow:
        """Return the gradients of x, r and the tensors."""
        if torch.is_grad_enabled():
            raise RuntimeError(FIRST_ONLY)
        row = ctx.saved_tensors
        saved = Saved.of(row[: len(SAVED)], has_shortcut=ctx.has_shortcut)
        tensors = TailTensors(*row[len(SAVED) :])
        dy = gradients[0].contiguous(memory_format=layout(saved.x))
        with precisely(dy):
            found = ctx.form.tail(tensors).backward(ctx.kernels, dy, saved)
        return (None, None, found.x, found.shortcut, *found.row(tensors))

    @staticmethod
    def vmap(info: Any, in_dims: Any, *arguments: Any) -> Any:
        """Refuse."""
        raise RuntimeError(FIRST_ONLY)


class PreactivatedFunction(torch.autograd.Function):
    """Tail of a pre-activation unit: v, a, and mean and variance of the batch, None if the normalisation does not use them."""

    @staticmethod
    def forward(ctx: Any, kernels: PairKernels, form: Form, u: Tensor, r: Tensor, *tensors: Tensor | None) -> TensorRow:
        """Compute `PreactivatedOutput.row`; u and r are (N, C, H, W), tensors a row of `TailTensors`."""
        named = TailTensors(*tensors)
        with precisely(u):
            output = pair_tail_of(form, named).forward(kernels, u, r)
        ctx.save_for_backward(*output.saved.row(), *named.parameters())
        ctx.kernels, ctx.form = kernels, form
        row = output.row()
        ctx.mark_non_differentiable(*(v for v in row[2:] if v is not None))
        ctx.set_materialize_grads(False)
        return row

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> TensorRow:
        """Return the gradients of u, r and the tensors."""
        if torch.is_grad_enabled():
            raise RuntimeError(FIRST_ONLY)
        row = ctx.saved_tensors
        saved, tensors = PreactivatedSaved.of(row[:COUNT]), TailTensors(*row[COUNT:])
        dv, da = gradients[0], torch.zeros_like(saved.a) if gradients[1] is None else gradients[1]
        with precisely(da):
            found = pair_tail_of(ctx.form, tensors).backward(ctx.kernels, dv, da, saved)
        return (None, None, found.x, found.shortcut, *found.row(tensors))

    @staticmethod
    def vmap(info: Any, in_dims: Any, *arguments: Any) -> Any:
        """Refuse."""
        raise RuntimeError(FIRST_ONLY)


def pair_tail_of(form: Form, tensors: TailTensors) -> PreactivatedTail:
    """Return the pre-activation tail of this form with these tensors."""
    tail = form.tail(tensors)
    assert tail.norm is not None
    return PreactivatedTail(tail.gate, tail.norm)
