"""The end of a residual unit: normalise, recalibrate, add the shortcut, rectify. Every residual network calls it once a unit."""

from collections.abc import Callable

import torch
from torch import Tensor

Map = Callable[[Tensor], Tensor]


def keep(x: Tensor) -> Tensor:
    """Return x itself: the map that stands for no normalisation, no recalibration or no rectification."""
    return x


def residual_tail(
    branch: Tensor,
    shortcut: Tensor,
    *,
    norm: Map = keep,
    shortcut_norm: Map = keep,
    recalibrate: Callable[..., Tensor] = keep,
    pairwise: bool = False,
    placement: str = "standard",
    relu: bool = True,
) -> Tensor:
    """Join a residual branch u = norm(branch) and a shortcut x' = shortcut_norm(shortcut).

    Args:
        branch: output of the branch's last convolution, (N, C, H, W).
        shortcut: input of the unit, or the output of its projection's convolution, (N, C, H, W).
        norm: the branch's last normalisation; pre-activation units have none.
        shortcut_norm: the projection's normalisation, if it has one.
        recalibrate: the unit's block, if it has one.
        pairwise: whether the block sees branch and shortcut, as CMPE-SE does: SE(u, x') in the place of SE(u). It takes "standard" only.
        placement: where the block acts (Hu et al., Figure 5); "pre" and "inner" act before the tail, so that it only adds.
        relu: whether the unit ends in a ReLU (post-activation form).

    Returns:
        With f = ReLU or the identity: "standard" f(x' + SE(u)), "identity" f(SE(x') + u), "post" SE(f(x' + u)), else f(x' + u).
    """
    rectify = torch.relu if relu else keep
    u, x = norm(branch), shortcut_norm(shortcut)
    if placement == "post":
        return recalibrate(rectify(x + u))
    if placement == "standard":
        u = recalibrate(u, x) if pairwise else recalibrate(u)
    elif placement == "identity":
        x = recalibrate(x)
    return rectify(x + u)
