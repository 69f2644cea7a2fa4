"""The fused tail as one autograd function."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from senet.ops.passes.maps import layout
from senet.ops.passes.protocol import Kernels
from senet.ops.tail.channel import Gradients, Norm, Tail
from senet.ops.tail.gates import Excitation, Gates, Projection
from senet.ops.tail.spatial import SpatialGradients, SpatialTail

AnyTail = Tail | SpatialTail
FURTHER = "the fused residual tail has a first derivative only, and no batching rule; use senet.backend('reference')"


class Form(NamedTuple):
    """Say what a tail is made of, without its tensors.

    Args:
        batch: whether the branch's normalisation uses the batch's statistics; None = there is no normalisation.
        eps: what it adds to the variance.
        gate: name of the gate's non-linearity; None = a plain unit.
        gain: constant factor behind the gate.
        r_batch: as `batch`, for the shortcut.
        r_eps: as `eps`, for the shortcut.
        relu: whether a ReLU ends the unit.
        group: the processes that share the branch's batch; None = this one has its own.
        r_group: as `group`, for the shortcut.
    """

    batch: bool | None
    eps: float
    gate: str | None
    gain: float
    r_batch: bool | None
    r_eps: float
    relu: bool
    group: Any = None
    r_group: Any = None

    @classmethod
    def of(cls, tail: AnyTail) -> "Form":
        """Return the form of a tail."""
        (batch, eps, group), (r_batch, r_eps, r_group) = (
            (None, 0.0, None) if n is None else (n.batch, n.eps, n.group) for n in (tail.norm, tail.r_norm)
        )
        gate, gain = (None, 1.0) if tail.gate is None else (tail.gate.name, tail.gate.gain)
        return cls(batch, eps, gate, gain, r_batch, r_eps, tail.relu, group, r_group)

    def tail(self, tensors: tuple[Tensor | None, ...]) -> AnyTail:
        """Put the tensors of `tensors_of` back."""
        gamma, beta, mean, var, r_gamma, r_beta, r_mean, r_var, w1, b1, w2, b2, w, b = tensors
        norm = None if self.batch is None else Norm(gamma, beta, mean, var, self.batch, self.eps, self.group)
        r_norm = None if self.r_batch is None else Norm(r_gamma, r_beta, r_mean, r_var, self.r_batch, self.r_eps, self.r_group)
        gate = None if self.gate is None or w1 is None or w2 is None else Excitation(w1, b1, w2, b2, self.gate, self.gain)
        return tail_of(norm, Gates(gate, None if w is None else Projection(w, b)), r_norm, self.relu)


def tail_of(norm: Norm | None, gates: Gates, r_norm: Norm | None, relu: bool) -> AnyTail:
    """Return the tail with these gates."""
    if gates.positions is None:
        return Tail(norm, gates.channels, r_norm, relu)
    return SpatialTail(norm, gates.channels, gates.positions, r_norm, relu)


COUNT = 14
"""How many tensors a tail has, those counted that are None."""
RUNNING = (2, 3, 6, 7)
"""Places of the running statistics among them; the backward pass has no use for them."""


def tensors_of(tail: AnyTail) -> tuple[Tensor | None, ...]:
    """Return the tensors of a tail, in a fixed order: of the norms, then of the gates."""
    norms = [(None,) * 4 if n is None else (n.gamma, n.beta, n.mean, n.var) for n in (tail.norm, tail.r_norm)]
    gate = (None,) * 4 if tail.gate is None else (tail.gate.w1, tail.gate.b1, tail.gate.w2, tail.gate.b2)
    projection = (tail.projection.weight, tail.projection.bias) if isinstance(tail, SpatialTail) else (None, None)
    return (*norms[0], *norms[1], *gate, *projection)


def lasting(tensors: tuple[Tensor | None, ...]) -> list[Tensor | None]:
    """Return the tensors that the backward pass needs, None in the places of the others: the step changes running statistics."""
    return [None if index in RUNNING else tensor for index, tensor in enumerate(tensors)]


def gradients_of(found: Gradients, tensors: tuple[Tensor | None, ...]) -> list[Tensor | None]:
    """Return the gradients of the tensors, each in its tensor's type, None for those that have none."""
    norms = (found.gamma, found.beta, None, None, found.r_gamma, found.r_beta, None, None)
    projection = (found.weight, found.bias) if isinstance(found, SpatialGradients) else (None, None)
    row = (*norms, found.w1, found.b1, found.w2, found.b2, *projection)
    return [None if t is None or v is None else v.to(t.dtype) for v, t in zip(row, tensors, strict=True)]


class TailFunction(torch.autograd.Function):
    """Compute a tail; returns y and, for the running statistics, mean and variance of each normalisation that used the batch's."""

    @staticmethod
    def forward(ctx: Any, kernels: Kernels, form: Form, x: Tensor, r: Tensor | None, *tensors: Tensor | None) -> tuple[Tensor | None, ...]:
        """Compute y (N, C, H, W), mu, var, mu and var of the shortcut; those that no norm used the batch for are None."""
        with torch.autocast(x.device.type, enabled=False):
            passed = form.tail(tensors).forward(kernels, x, r)
        ctx.save_for_backward(x, None if form.r_batch is None else r, passed.kept, *passed.saved.tensors(), *lasting(tensors))
        ctx.kernels, ctx.form, ctx.has_shortcut = kernels, form, r is not None
        ctx.mark_non_differentiable(*(v for v in passed.statistics if v is not None))
        return (passed.y, *passed.statistics)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x, r and the tensors."""
        if torch.is_grad_enabled():
            raise RuntimeError(FURTHER)
        x, r, kept, *rest = ctx.saved_tensors
        small, tensors = rest[:-COUNT], tuple(rest[-COUNT:])
        tail = ctx.form.tail(tensors)
        dy = gradients[0].contiguous(memory_format=layout(x))
        with torch.autocast(x.device.type, enabled=False):
            found = tail.backward(ctx.kernels, dy, kept, x, r, tail.saved_type.of(small), ctx.has_shortcut)
        return (None, None, found.x, found.r, *gradients_of(found, tensors))

    @staticmethod
    def vmap(info: Any, in_dims: Any, *arguments: Any) -> Any:
        """Refuse."""
        raise RuntimeError(FURTHER)
