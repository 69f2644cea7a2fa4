"""The shortcut of a tail: as it is, or projected, with a normalisation of its own."""

from torch import Tensor

from senet.ops.passes.protocol import Kernels
from senet.ops.passes.terms import Centred, Coefficients, GradientSums, OutputGradient, Shortcut
from senet.ops.tail.batchnorm import BatchNorm, Normalization, Statistics, normalise, statistics_gradient
from senet.ops.tail.rows import Saved


def normalised_shortcut(
    kernels: Kernels, r: Tensor | None, norm: BatchNorm | None
) -> tuple[Shortcut | None, Normalization | None, Statistics | None]:
    """Return a shortcut r (N, C, H, W) as the passes add it, what its normalisation does, and the batch's statistics."""
    if r is None or norm is None:
        return None if r is None else Shortcut(r), None, None
    _, normalization, statistics = normalise(kernels, r, norm, squeeze=False)
    return Shortcut(r, normalization.scale, normalization.shift(norm)), normalization, statistics


def projected(saved: Saved) -> Centred | None:
    """Return the shortcut and its mean if it is projected."""
    if saved.shortcut is None or saved.shortcut_normalization is None:
        return None
    return Centred(saved.shortcut, saved.shortcut_normalization.mean)


def is_passed_on(saved: Saved) -> bool:
    """Return whether the gradient behind the ReLU is the shortcut's as it is; without a ReLU that is dy itself, and nothing is stored."""
    return saved.has_shortcut and saved.shortcut_normalization is None and saved.relu_mask is not None


def shortcut_gradients(
    kernels: Kernels, norm: BatchNorm | None, saved: Saved, gradient: OutputGradient, sums: GradientSums
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return the gradients of the shortcut, and of gamma and beta of its normalisation.

    Args:
        kernels: the passes.
        norm: the shortcut's normalisation, or None.
        saved: what the forward pass saved.
        gradient: of the output; where it is the shortcut's, without a ReLU that is still to be passed.
        sums: over positions.
    """
    r, normalization = saved.shortcut, saved.shortcut_normalization
    if norm is None or normalization is None or r is None or sums.gr is None:
        return gradient.dy if saved.has_shortcut else None, None, None
    dbeta, dgamma = sums.g.sum(0), (sums.gr * normalization.inverse_std).sum(0)
    by_x, constant = statistics_gradient(norm, normalization, dbeta, dgamma, r.numel() // r.shape[1])
    by_g, constant = (v.expand_as(sums.g).contiguous() for v in (normalization.scale, constant))
    return kernels.spread(gradient, r, Coefficients(by_g, by_x, constant)), dgamma, dbeta
