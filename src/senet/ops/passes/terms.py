"""What the passes take and return, as data.

x is the branch's map, r the shortcut's, g the gradient behind the ReLU: dy where the ReLU was open, else 0.
"""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Shortcut:
    """Shortcut of a unit as the pass that writes the output adds it: scale r + shift.

    Args:
        map: r, (N, C, H, W).
        scale: (C,), of a projection's normalisation; None = 1.
        shift: (C,); None = 0.
    """

    map: Tensor
    scale: Tensor | None = None
    shift: Tensor | None = None


@dataclass(frozen=True)
class OutputGradient:
    """Gradient of a unit's output, and where its ReLU was open.

    Args:
        dy: (N, C, H, W).
        relu_mask: what the pass that wrote the output said of it: the output itself, positive where the ReLU was open, or a form that the
            backend knows; None = no ReLU.
    """

    dy: Tensor
    relu_mask: Tensor | None = None


@dataclass(frozen=True)
class Centred:
    """Map (N, C, H, W) with the means (C,) around which its sums are taken."""

    map: Tensor
    mean: Tensor


@dataclass(frozen=True)
class GradientSums:
    """Sums over positions, each (N, C).

    Args:
        g: sum g.
        gx: sum g (x - mean).
        gr: sum g (r - mean of r) for a projected shortcut, else None.
        gradient: g itself, a new map, if it was asked for.
    """

    g: Tensor
    gx: Tensor
    gr: Tensor | None
    gradient: Tensor | None


@dataclass(frozen=True)
class Coefficients:
    """Coefficients of a map's gradient, dx = by_g g + by_x x + constant.

    Args:
        by_g: (N, C).
        by_x: (C,); None = 0.
        constant: (N, C).
    """

    by_g: Tensor
    by_x: Tensor | None
    constant: Tensor


@dataclass(frozen=True)
class Normalised:
    """Map x (N, C, H, W) and its normalisation, u = scale x + shift; mean, scale and shift are (C,)."""

    map: Tensor
    mean: Tensor
    scale: Tensor
    shift: Tensor


@dataclass(frozen=True)
class GateOfPositions:
    """Gate of each position, sigmoid(sum_c weight x + bias), and what is added to it.

    Args:
        weight: (C,), with the normalisation's scale in it.
        bias: one value, with the normalisation's shift in it.
        channels: gates of the channels, (N, C); None = 0.
    """

    weight: Tensor
    bias: Tensor
    channels: Tensor | None = None


@dataclass(frozen=True)
class PositionSums(GradientSums):
    """Sums over positions whose gates q are known, and over the channels of each.

    Args:
        gq: sum g q, (N, C).
        gqx: sum g q (x - mean), (N, C).
        lx: sum dl (x - mean), (N, C).
        dl: gradient by the gate's logit, q (1 - q) sum_c g u, (N, 1, H, W).
    """

    gq: Tensor
    gqx: Tensor
    lx: Tensor
    dl: Tensor


@dataclass(frozen=True)
class PositionCoefficients:
    """Terms that gated positions add to a map's gradient: by_gq g q + by_dl dl.

    Args:
        gates: q, (N, 1, H, W).
        dl: gradient by their logits, (N, 1, H, W).
        by_gq: (C,).
        by_dl: (C,).
    """

    gates: Tensor
    dl: Tensor
    by_gq: Tensor
    by_dl: Tensor


@dataclass(frozen=True)
class PairMoments:
    """Means of branch u and shortcut r, and centred sums of u u, u r and r r, all (N, C)."""

    u: Tensor
    r: Tensor
    uu: Tensor
    ur: Tensor
    rr: Tensor


@dataclass(frozen=True)
class PairGradient:
    """Outputs of a pre-activation tail, v and a = relu(scale v + shift), and the gradients of both; all (N, C, H, W).

    Where the ReLU was open is said twice, by a and by v with scale and shift: a backend takes what it reads anyway.

    Args:
        v: the sum of gated branch and shortcut.
        a: the sum, normalised and rectified.
        da: gradient of a; g is da where a is positive, else 0.
        dv: gradient of v as a shortcut; None = 0.
        scale: (C,).
        shift: (C,).
    """

    v: Tensor
    a: Tensor
    da: Tensor
    dv: Tensor | None
    scale: Tensor
    shift: Tensor


@dataclass(frozen=True)
class PairSums:
    """Sums over positions of g, g (v - mean), g u and dv u, each (N, C); None where there is no u, or no dv."""

    g: Tensor
    gv: Tensor
    gu: Tensor | None
    dvu: Tensor | None


@dataclass(frozen=True)
class PairCoefficients:
    """Coefficients of the gradients of shortcut and branch: dr = by_g g + by_v v + constant + dv, du = gates dr + squeeze.

    Args:
        by_g: (C,).
        by_v: (C,); None = 0.
        constant: (C,); None = 0.
        gates: (N, C); None = 1, and nothing comes through the squeeze.
        squeeze: (N, C), what comes through the squeeze.
    """

    by_g: Tensor
    by_v: Tensor | None
    constant: Tensor | None
    gates: Tensor | None = None
    squeeze: Tensor | None = None
