"""The fused tail as one autograd function."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from senet.ops.fused import Excitation, Norm, Saved, Tail
from senet.ops.kernels import Kernels

FURTHER = "the fused residual tail has a first derivative only, and no batching rule; use senet.backend('reference')"


@dataclass(frozen=True)
class Form:
    """Say what a tail is made of, without its tensors.

    Args:
        norm: (batch statistics, eps) of the branch's normalisation; None = none.
        gate: name of the gate's non-linearity; None = a plain unit.
        r_norm: as `norm`, for the shortcut.
        relu: whether a ReLU ends the unit.
    """

    norm: tuple[bool, float] | None
    gate: str | None
    r_norm: tuple[bool, float] | None
    relu: bool

    @classmethod
    def of(cls, tail: Tail) -> "Form":
        """Return the form of a tail."""
        norm, r_norm = (None if n is None else (n.batch, n.eps) for n in (tail.norm, tail.r_norm))
        return cls(norm, None if tail.gate is None else tail.gate.name, r_norm, tail.relu)

    def tail(self, tensors: tuple[Tensor | None, ...]) -> Tail:
        """Put the tensors of `tensors_of` back."""
        gamma, beta, mean, var, r_gamma, r_beta, r_mean, r_var, w1, b1, w2, b2 = tensors
        norm = None if self.norm is None else Norm(gamma, beta, mean, var, *self.norm)
        r_norm = None if self.r_norm is None else Norm(r_gamma, r_beta, r_mean, r_var, *self.r_norm)
        gate = None if self.gate is None or w1 is None or w2 is None else Excitation(w1, b1, w2, b2, self.gate)
        return Tail(norm, gate, r_norm, self.relu)


RUNNING = (2, 3, 6, 7)
"""Places of the running statistics among the tensors of a tail; the backward pass has no use for them."""


def tensors_of(tail: Tail) -> tuple[Tensor | None, ...]:
    """Return the tensors of a tail, in a fixed order: of the norms, then of the gate."""
    norms = [(None,) * 4 if n is None else (n.gamma, n.beta, n.mean, n.var) for n in (tail.norm, tail.r_norm)]
    gate = (None,) * 4 if tail.gate is None else (tail.gate.w1, tail.gate.b1, tail.gate.w2, tail.gate.b2)
    return (*norms[0], *norms[1], *gate)


class TailFunction(torch.autograd.Function):
    """Compute a tail; returns y and, for the running statistics, mean and variance of each normalisation that used the batch's."""

    @staticmethod
    def forward(ctx: Any, kernels: Kernels, form: Form, x: Tensor, r: Tensor | None, *tensors: Tensor | None) -> tuple[Tensor | None, ...]:
        """Compute y (N, C, H, W), mu, var, mu and var of the shortcut; those that no norm used the batch for are None."""
        with torch.autocast(x.device.type, enabled=False):
            y, saved, statistics = form.tail(tensors).forward(kernels, x, r)
        lasting = (None if index in RUNNING else tensor for index, tensor in enumerate(tensors))  # the step changes running statistics
        ctx.save_for_backward(x, r if form.r_norm else None, y if form.relu else None, *saved.tensors(), *lasting)
        ctx.kernels, ctx.form, ctx.has_shortcut = kernels, form, r is not None
        ctx.mark_non_differentiable(*(v for v in statistics if v is not None))
        return (y, *statistics)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x, r and the tensors."""
        if torch.is_grad_enabled():
            raise RuntimeError(FURTHER)
        x, r, y, *rest = ctx.saved_tensors
        small, tensors = rest[: Saved.COUNT], rest[Saved.COUNT :]
        dy = gradients[0].contiguous(memory_format=layout(x))
        with torch.autocast(x.device.type, enabled=False):
            found = ctx.form.tail(tuple(tensors)).backward(ctx.kernels, dy, y, x, r, Saved.of(small), ctx.has_shortcut)
        of_tensors = (found.gamma, found.beta, None, None, found.r_gamma, found.r_beta, None, None, found.w1, found.b1, found.w2, found.b2)
        typed = (None if t is None or v is None else v.to(t.dtype) for v, t in zip(of_tensors, tensors, strict=True))
        return (None, None, found.x, found.r, *typed)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *arguments: Any) -> Any:
        """Refuse."""
        raise RuntimeError(FURTHER)


def layout(x: Tensor) -> torch.memory_format:
    """Return the memory format that a map is passed on in."""
    return torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous() else torch.contiguous_format
