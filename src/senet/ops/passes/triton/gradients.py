"""Device code of the gradients of normalisations and gates, between the two passes over maps of a backward pass.

Names are those of `senet.ops.tail.channel`. What `reduce` stored for each span is added here, in the order of images and spans.
"""

# ruff: noqa: N803
# pyright: reportArgumentType=false, reportIndexIssue=false, reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

import triton
import triton.language as tl

from senet.ops.passes.triton.gate import derivative_of, weight_gradient
from senet.ops.passes.triton.vectors import loaded, matrix_at, parts_at, where_first

# Pointers, by the names of the arguments; N images, C channels, R hidden units, P blocks of channels.
#   parts (2 or 3, N, spans, C): sums of g, g (x - mu), and g (r - r_mu) of a projected shortcut
#   (N, C): gates (without gain), dlogits, means (of maps), squeeze, dz;  (N, R): hidden, dhidden;  (P, N, R): partial
#   (R, C): w1, dw1;  (C, R): w2, dw2;  (R,): db1;  (C,): db2
#   (C,): gamma, beta, mu, inverse_std, scale, dgamma, dbeta, kb and kd (dx = ... + kb x + kd; None = the batch's statistics are not used)
#   (2, C): totals, sums over images of gain s sum g and gain s sum g xhat;  with r_: those of a projected shortcut


@triton.jit
def over_parts(g, gx, c, rows, channels, ROWS: tl.constexpr, BLOCK: tl.constexpr, WIDE: tl.constexpr):
    """Return the sums of two sets of parts, (rows, C), over all rows."""
    of_g, of_gx = tl.zeros((BLOCK,), WIDE), tl.zeros((BLOCK,), WIDE)
    for first in range(0, rows, ROWS):
        at, inside = matrix_at(first + tl.arange(0, ROWS), c, rows, channels)
        of_g += tl.sum(tl.load(g + at, mask=inside, other=0.0), axis=0)
        of_gx += tl.sum(tl.load(gx + at, mask=inside, other=0.0), axis=0)
    return of_g, of_gx


@triton.jit
def store_norm_gradient(of_beta, of_gamma, count, mu, inverse_std, scale, dgamma, dbeta, kb, kd, c, there, WIDE: tl.constexpr):
    """Store the gradients of gamma and beta, and what the batch's mean and variance add to that of the map, where that is asked for."""
    if dgamma is not None:
        tl.store(dgamma + c, of_gamma, mask=there)
    if dbeta is not None:
        tl.store(dbeta + c, of_beta, mask=there)
    if kb is not None:
        k = loaded(scale, c, there, 1.0, WIDE)
        by_x = -k * loaded(inverse_std, c, there, 1.0, WIDE) * of_gamma / count
        tl.store(kb + c, by_x, mask=there)
        tl.store(kd + c, -k * of_beta / count - by_x * loaded(mu, c, there, 0.0, WIDE), mask=there)


@triton.jit
def plain_gradient(
    sums, mu, inverse_std, scale, dgamma, dbeta, kb, kd, r_mu, r_inverse_std, r_scale, r_dgamma, r_dbeta, r_kb, r_kd,
    images, channels, positions, spans, BLOCK: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    """Store the gradients of the normalisations of a tail without gates: the blocks of channels of the branch, then of the shortcut."""
    wide: tl.constexpr = sums.dtype.element_ty
    blocks = tl.cdiv(channels, BLOCK)
    c = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    there = c < channels
    rows = images * spans
    stride = rows * channels
    count = tl.cast(images, wide) * tl.cast(positions, wide)
    if tl.program_id(0) < blocks:
        of_g, of_gx = over_parts(sums, sums + stride, c, rows, channels, PARTS, BLOCK, wide)
        of_gx *= loaded(inverse_std, c, there, 1.0, wide)
        store_norm_gradient(of_g, of_gx, count, mu, inverse_std, scale, dgamma, dbeta, kb, kd, c, there, wide)
    elif r_mu is not None:
        of_g, of_gr = over_parts(sums, sums + 2 * stride, c, rows, channels, PARTS, BLOCK, wide)
        of_gr *= loaded(r_inverse_std, c, there, 1.0, wide)
        store_norm_gradient(of_g, of_gr, count, r_mu, r_inverse_std, r_scale, r_dgamma, r_dbeta, r_kb, r_kd, c, there, wide)


@triton.jit
def logits_gradient(
    sums, gates, gamma, beta, inverse_std, dlogits, db2, totals, tile, c, images, channels, spans, GAIN: tl.constexpr,
    GATE: tl.constexpr, BLOCK: tl.constexpr, IMAGES: tl.constexpr, SPANS: tl.constexpr,
):  # fmt: skip
    """Store the gradient of the gates' logits, by a block of channels; and, once, that of their bias and the totals."""
    wide: tl.constexpr = sums.dtype.element_ty
    there = c < channels
    stride = images * spans * channels
    by_gx = loaded(inverse_std, c, there, 1.0, wide)[None, :]
    by_gamma, by_beta = loaded(gamma, c, there, 1.0, wide)[None, :], loaded(beta, c, there, 0.0, wide)[None, :]
    of_g, of_gx, of_bias = tl.zeros((BLOCK,), wide), tl.zeros((BLOCK,), wide), tl.zeros((BLOCK,), wide)
    for first in range(0, images, IMAGES):
        n = first + tl.arange(0, IMAGES)
        at, inside = parts_at(n, c, images, channels, spans, SPANS)
        g = tl.sum(tl.load(sums + at, mask=inside, other=0.0), axis=1)
        gx = tl.sum(tl.load(sums + stride + at, mask=inside, other=0.0), axis=1) * by_gx
        to, exists = matrix_at(n, c, images, channels)
        s = tl.load(gates + to, mask=exists, other=0.0)
        d = (by_gamma * gx + by_beta * g) * derivative_of(s, GATE) * GAIN
        tl.store(dlogits + to, d, mask=exists)
        of_bias += tl.sum(d, axis=0)
        of_g += tl.sum(s * g, axis=0)
        of_gx += tl.sum(s * gx, axis=0)
    stored = where_first(tile, c, channels)
    if db2 is not None:
        tl.store(db2 + c, of_bias, mask=stored)
    tl.store(totals + c, of_g * GAIN, mask=stored)
    tl.store(totals + channels + c, of_gx * GAIN, mask=stored)


@triton.jit
def gate_gradient(
    sums, gates, gamma, beta, inverse_std, hidden, w2, dlogits, dw2, db2, totals, partial,
    r_mu, r_inverse_std, r_scale, r_dgamma, r_dbeta, r_kb, r_kd, images, channels, positions, spans, width, tiles,
    GAIN: tl.constexpr, GATE: tl.constexpr, BLOCK: tl.constexpr, IMAGES: tl.constexpr, SPANS: tl.constexpr, ROWS: tl.constexpr,
    HIDDEN: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    """Store the gradients of the second FC and of a projected shortcut's normalisation, and what each block adds to the hidden layer's.

    Programs: as in `statistics`; those of several tiles store the same gradient of the logits.
    """
    wide: tl.constexpr = sums.dtype.element_ty
    blocks = tl.cdiv(channels, BLOCK)
    tile, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    c = block * BLOCK + tl.arange(0, BLOCK)
    if tile < tiles:
        logits_gradient(
            sums, gates, gamma, beta, inverse_std, dlogits, db2, totals, tile, c, images, channels, spans,
            GAIN, GATE, BLOCK, IMAGES, SPANS,
        )  # fmt: skip
        tl.debug_barrier()  # what other threads stored is there
        r = tile * HIDDEN + tl.arange(0, HIDDEN)
        weight_gradient(dlogits, hidden, w2, dw2, partial, block, c, r, images, channels, width, ROWS, BLOCK, HIDDEN)
    elif r_mu is not None:
        rows = images * spans
        count = tl.cast(images, wide) * tl.cast(positions, wide)
        of_g, of_gr = over_parts(sums, sums + 2 * rows * channels, c, rows, channels, PARTS, BLOCK, wide)
        of_gr *= loaded(r_inverse_std, c, c < channels, 1.0, wide)
        store_norm_gradient(of_g, of_gr, count, r_mu, r_inverse_std, r_scale, r_dgamma, r_dbeta, r_kb, r_kd, c, c < channels, wide)


@triton.jit
def norm_gradient(
    dz, means, squeeze, dhidden, totals, mu, inverse_std, scale, dw1, db1, dgamma, dbeta, kb, kd, images, channels, positions, width,
    BLOCK: tl.constexpr, ROWS: tl.constexpr, HIDDEN: tl.constexpr,
):  # fmt: skip
    """Store the gradients of the first FC and, unless totals is None, of the branch's normalisation.

    Programs: for each tile of hidden units the blocks of channels.
    """
    wide: tl.constexpr = dz.dtype.element_ty
    blocks = tl.cdiv(channels, BLOCK)
    tile, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    c, r = block * BLOCK + tl.arange(0, BLOCK), tile * HIDDEN + tl.arange(0, HIDDEN)
    dw, db = tl.zeros((HIDDEN, BLOCK), wide), tl.zeros((HIDDEN,), wide)
    for first in range(0, images, ROWS):
        n = first + tl.arange(0, ROWS)
        to, exists = matrix_at(n, r, images, width)
        dh = tl.load(dhidden + to, mask=exists, other=0.0)
        at, inside = matrix_at(n, c, images, channels)
        dw = tl.dot(tl.trans(dh), tl.load(squeeze + at, mask=inside, other=0.0), dw, input_precision="ieee", out_dtype=wide)
        db += tl.sum(dh, axis=0)
    at_w, inside_w = matrix_at(r, c, width, channels)
    tl.store(dw1 + at_w, dw, mask=inside_w)
    if db1 is not None:
        tl.store(db1 + r, db, mask=where_first(block, r, width))
    if totals is not None and tile == 0:
        there = c < channels
        by_x, mean = loaded(inverse_std, c, there, 1.0, wide)[None, :], loaded(mu, c, there, 0.0, wide)[None, :]
        of_beta, of_gamma = tl.zeros((BLOCK,), wide), tl.zeros((BLOCK,), wide)
        for first in range(0, images, ROWS):
            at, inside = matrix_at(first + tl.arange(0, ROWS), c, images, channels)
            d = tl.load(dz + at, mask=inside, other=0.0)
            of_beta += tl.sum(d, axis=0)
            of_gamma += tl.sum(d * (tl.load(means + at, mask=inside, other=0.0) - mean) * by_x, axis=0)
        of_beta += tl.load(totals + c, mask=there, other=0.0)
        of_gamma += tl.load(totals + channels + c, mask=there, other=0.0)
        count = tl.cast(images, wide) * tl.cast(positions, wide)
        store_norm_gradient(of_beta, of_gamma, count, mu, inverse_std, scale, dgamma, dbeta, kb, kd, c, there, wide)
