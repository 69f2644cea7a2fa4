"""Device code of the gates of channels and of their gradients, on (N, C) and the two FCs: a block of images or of channels each program.

Names are those of `senet.ops.tail.channel`; a dot multiplies as `statistics` says. The derivative of a gate is a function of its value.
"""

# ruff: noqa: N803
# pyright: reportArgumentType=false, reportIndexIssue=false, reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

import triton
import triton.language as tl

from senet.ops.passes.triton.vectors import loaded, matrix_at, of_blocks, where_first

# Pointers, by the names of the arguments; N images, C channels, R hidden units, P blocks of channels.
#   (P, N, R): partial;  (N, R): hidden, dhidden;  (R, C): w1;  (C, R): w2;  (R,): b1;  (C,): b2, scale, shift
#   (N, C): gates (without gain), ka and kc (coefficients of a pass), dz;  biases and scale None = 0 and 1


@triton.jit
def gate_of(logit, GATE: tl.constexpr):
    """Return the gate of a logit."""
    if GATE == "sigmoid":
        return tl.sigmoid(logit)
    elif GATE == "tanh":
        return 2 * tl.sigmoid(2 * logit) - 1
    elif GATE == "hard_sigmoid":
        return tl.where(logit <= -3, 0.0, tl.where(logit >= 3, 1.0, logit / 6 + 0.5))
    else:
        tl.static_assert(GATE == "relu")
        return tl.where(logit <= 0, 0.0, logit)


@triton.jit
def derivative_of(s, GATE: tl.constexpr):
    """Return the derivative of a gate that has the value s."""
    if GATE == "sigmoid":
        return s * (1 - s)
    elif GATE == "tanh":
        return 1 - s * s
    elif GATE == "hard_sigmoid":
        return tl.where((s > 0) & (s < 1), 1.0, 0.0).to(s.dtype) / 6
    else:
        tl.static_assert(GATE == "relu")
        return tl.where(s > 0, 1.0, 0.0).to(s.dtype)


@triton.jit
def gate(
    partial, b1, w2, b2, scale, shift, hidden, gates, ka, kc, images, channels, width, parts, GAIN: tl.constexpr, GATE: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, HIDDEN: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    """Store hidden units, gates, and unless ka is None the coefficients of the pass that applies them, gain s scale and gain s shift."""
    wide: tl.constexpr = gates.dtype.element_ty
    blocks = tl.cdiv(channels, COLUMNS)
    n = tl.program_id(0) // blocks * ROWS + tl.arange(0, ROWS)
    c = tl.program_id(0) % blocks * COLUMNS + tl.arange(0, COLUMNS)
    logit = tl.zeros((ROWS, COLUMNS), wide)
    for first in range(0, width, HIDDEN):
        r = first + tl.arange(0, HIDDEN)
        h = of_blocks(partial, n, r, images, width, parts, PARTS) + loaded(b1, r, r < width, 0.0, wide)[None, :]
        h = tl.where(h <= 0, 0.0, h)
        to, there = matrix_at(n, r, images, width)
        tl.store(hidden + to, h, mask=there & where_first(tl.program_id(0) % blocks, n, images)[:, None])
        at, inside = matrix_at(c, r, channels, width)
        logit = tl.dot(h, tl.trans(tl.load(w2 + at, mask=inside, other=0.0).to(wide)), logit, input_precision="ieee", out_dtype=wide)
    there = c < channels
    s = gate_of(logit + loaded(b2, c, there, 0.0, wide)[None, :], GATE)
    to, inside = matrix_at(n, c, images, channels)
    tl.store(gates + to, s, mask=inside)
    if ka is not None:
        tl.store(ka + to, s * (GAIN * loaded(scale, c, there, 1.0, wide))[None, :], mask=inside)
        tl.store(kc + to, s * (GAIN * loaded(shift, c, there, 0.0, wide))[None, :], mask=inside)


@triton.jit
def weight_gradient(
    dlogits, hidden, w2, dw2, partial, block, c, r, images, channels, width, ROWS: tl.constexpr, BLOCK: tl.constexpr, HIDDEN: tl.constexpr
):  # fmt: skip
    """Store dW2 = dlogits^T h of a block of channels and a tile of hidden units, and what the block adds to dlogits W2."""
    wide: tl.constexpr = dlogits.dtype.element_ty
    at_w, inside_w = matrix_at(c, r, channels, width)
    w = tl.load(w2 + at_w, mask=inside_w, other=0.0).to(wide)
    dw = tl.zeros((BLOCK, HIDDEN), wide)
    for first in range(0, images, ROWS):
        n = first + tl.arange(0, ROWS)
        at, inside = matrix_at(n, c, images, channels)
        d = tl.load(dlogits + at, mask=inside, other=0.0)
        to, there = matrix_at(n, r, images, width)
        dw = tl.dot(tl.trans(d), tl.load(hidden + to, mask=there, other=0.0), dw, input_precision="ieee", out_dtype=wide)
        share = tl.dot(d, w, input_precision="ieee", out_dtype=wide)
        tl.store(partial + block * images * width + to, share, mask=there)
    tl.store(dw2 + at_w, dw, mask=inside_w)


@triton.jit
def squeeze_gradient(
    partial, hidden, w1, gates, scale, dhidden, dz, ka, kc, images, channels, positions, width, parts, GAIN: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, HIDDEN: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    """Store dhidden where the ReLU was open, dz = dhidden W1 and, unless ka is None, by_g = gain s scale and what comes by the squeeze."""
    wide: tl.constexpr = gates.dtype.element_ty
    blocks = tl.cdiv(channels, COLUMNS)
    n = tl.program_id(0) // blocks * ROWS + tl.arange(0, ROWS)
    c = tl.program_id(0) % blocks * COLUMNS + tl.arange(0, COLUMNS)
    of_squeeze = tl.zeros((ROWS, COLUMNS), wide)
    for first in range(0, width, HIDDEN):
        r = first + tl.arange(0, HIDDEN)
        to, there = matrix_at(n, r, images, width)
        opened = tl.load(hidden + to, mask=there, other=0.0) > 0
        dh = tl.where(opened, of_blocks(partial, n, r, images, width, parts, PARTS), 0.0)
        tl.store(dhidden + to, dh, mask=there & where_first(tl.program_id(0) % blocks, n, images)[:, None])
        at, inside = matrix_at(r, c, width, channels)
        of_squeeze = tl.dot(dh, tl.load(w1 + at, mask=inside, other=0.0).to(wide), of_squeeze, input_precision="ieee", out_dtype=wide)
    to, inside = matrix_at(n, c, images, channels)
    tl.store(dz + to, of_squeeze, mask=inside)
    if ka is not None:
        k = loaded(scale, c, c < channels, 1.0, wide)[None, :]
        tl.store(ka + to, tl.load(gates + to, mask=inside, other=0.0) * (GAIN * k), mask=inside)
        tl.store(kc + to, of_squeeze * (k / positions), mask=inside)
