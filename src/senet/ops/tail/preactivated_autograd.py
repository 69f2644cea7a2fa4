"""The tail of a pre-activation unit as one autograd function, and when it is taken."""

from typing import Any

import torch
from torch import Tensor, nn

from senet.ops.backend import choose, is_asked_for
from senet.ops.passes.maps import layout
from senet.ops.passes.pairs import PairKernels
from senet.ops.tail.autograd import FURTHER, Form, gradients_of, lasting, tensors_of
from senet.ops.tail.call import SMALL, as_data, gates_of, keep, residual_tail, takes, update_running
from senet.ops.tail.channel import Tail
from senet.ops.tail.preactivated import PreactivatedTail, Saved

SMALL_THINGS = 8
"""How many tensors `Saved` holds."""


def preactivated_tail(branch: Tensor, shortcut: Tensor, *, recalibrate: nn.Module, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Return v = SE(branch) + shortcut and a = relu(norm(v)).

    Args:
        branch: output of the branch's last convolution, (N, C, H, W).
        shortcut: of the same shape.
        recalibrate: the unit's block.
        norm: the next unit's first normalisation.
    """
    kernels = _kernels(branch, shortcut, recalibrate, norm)
    if kernels is None:
        v = residual_tail(branch, shortcut, recalibrate=recalibrate, relu=False)
        return v, torch.relu(norm(v))
    tail = Tail(as_data(norm, branch), gates_of(recalibrate).channels, None, True)
    u, r = (v.contiguous(memory_format=layout(branch)) for v in (branch, shortcut))
    v, a, mu, var = PreactivatedFunction.apply(kernels, Form.of(tail), u, r, *tensors_of(tail))
    update_running(norm, mu, var)
    return v, a


def _kernels(branch: Tensor, shortcut: Tensor, recalibrate: nn.Module, norm: nn.Module) -> PairKernels | None:
    """Return the passes where the operator computes just what the parts would, else None."""
    if (
        not (branch.numel() >= SMALL or is_asked_for())
        or shortcut.dtype != branch.dtype
        or not takes(branch, shortcut, norm, keep, recalibrate)
    ):
        return None
    gates, kernels = gates_of(recalibrate), choose(branch).kernels
    return kernels if isinstance(kernels, PairKernels) and gates.channels is not None and gates.positions is None else None


class PreactivatedFunction(torch.autograd.Function):
    """Compute a tail; returns v, a, and mean and variance of the batch, None if the normalisation does not use them."""

    @staticmethod
    def forward(ctx: Any, kernels: PairKernels, form: Form, u: Tensor, r: Tensor, *tensors: Tensor | None) -> tuple[Tensor | None, ...]:
        """Compute all four; maps are (N, C, H, W), statistics (C,)."""
        with torch.autocast(u.device.type, enabled=False):
            passed = _tail(form, tensors).forward(kernels, u, r)
        ctx.save_for_backward(u, passed.v, passed.a, *passed.saved.tensors(), *lasting(tensors))
        ctx.kernels, ctx.form = kernels, form
        ctx.mark_non_differentiable(*(v for v in passed.statistics if v is not None))
        ctx.set_materialize_grads(False)
        return (passed.v, passed.a, *passed.statistics)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return the gradients of u, r and the tensors."""
        if torch.is_grad_enabled():
            raise RuntimeError(FURTHER)
        u, v, a, *rest = ctx.saved_tensors
        small, tensors = rest[:SMALL_THINGS], tuple(rest[SMALL_THINGS:])
        dv, da = gradients[0], torch.zeros_like(a) if gradients[1] is None else gradients[1]
        with torch.autocast(u.device.type, enabled=False):
            found = _tail(ctx.form, tensors).backward(ctx.kernels, dv, da, u, v, a, Saved.of(small))
        return (None, None, found.x, found.r, *gradients_of(found, tensors))

    @staticmethod
    def vmap(info: Any, in_dims: Any, *arguments: Any) -> Any:
        """Refuse."""
        raise RuntimeError(FURTHER)


def _tail(form: Form, tensors: tuple[Tensor | None, ...]) -> PreactivatedTail:
    tail = form.tail(tensors)
    assert tail.gate is not None
    assert tail.norm is not None
    return PreactivatedTail(tail.gate, tail.norm)
