"""Device code of what lies between the passes over pairs: gates, statistics of the gated sum, and their gradients.

The order is another than in `statistics`: the gates come first, since they make the sum that is normalised. Names are those of
`senet.ops.tail.preactivated`; what the passes stored for each span of positions is put together here.
"""

# ruff: noqa: N803
# pyright: reportArgumentType=false, reportIndexIssue=false, reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

import triton
import triton.language as tl

from senet.ops.passes.triton.gate import derivative_of, gate_of, weight_gradient
from senet.ops.passes.triton.gradients import over_parts, store_norm_gradient
from senet.ops.passes.triton.statistics import store_normalization, with_more
from senet.ops.passes.triton.vectors import loaded, matrix_at, parts_at, where_first

# Pointers, by the names of the arguments; N images, C channels, R hidden units, P blocks of channels, spans of `length` positions each.
#   parts (5, N, spans, C): moments, as `pairs` has them;  (3 or 4, N, spans, C): sums of g, g (v - mu), g u, and dv u unless dv is None
#   (N, C): squeeze (means of u), gates (without gain), s (with it), means (of v), uv (centred sums of u v), dlogits;  (N, R): hidden
#   (P, N, R): partial;  (R, C): w1;  (C, R): w2, dw2;  (R,): b1;  (C,): b2, db2
#   (C,): gamma, beta, running_mean, running_var, mu, inverse_std, scale, shift, var, dgamma, dbeta, kb and kd, as in `gradients`


@triton.jit
def _means_of(parts, n, c, images, channels, positions, spans, length, SPANS: tl.constexpr, WIDE: tl.constexpr):
    """Return the means of whole maps as a tile (images, channels)."""
    at, inside = parts_at(n, c, images, channels, spans, SPANS)
    counts = tl.minimum(positions - tl.arange(0, SPANS) * length, length).to(WIDE)[None, :, None]
    return tl.sum(tl.load(parts + at, mask=inside, other=0.0) * counts, axis=1) / tl.cast(positions, WIDE)


@triton.jit
def pair_gate(
    moments, w1, b1, w2, b2, squeeze, hidden, gates, s, images, channels, positions, spans, length, width,
    GAIN: tl.constexpr, GATE: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, COLUMNS: tl.constexpr, HIDDEN: tl.constexpr,
    SPANS: tl.constexpr,
):  # fmt: skip
    """Store the squeeze, the hidden units and the gates; each program goes over all channels for its images, then has its own columns."""
    wide: tl.constexpr = moments.dtype.element_ty
    columns = tl.cdiv(channels, COLUMNS)
    column = tl.program_id(0) % columns
    n = tl.program_id(0) // columns * ROWS + tl.arange(0, ROWS)
    c = column * COLUMNS + tl.arange(0, COLUMNS)
    logit = tl.zeros((ROWS, COLUMNS), wide)
    for first in range(0, width, HIDDEN):
        r = first + tl.arange(0, HIDDEN)
        h = tl.zeros((ROWS, HIDDEN), wide)
        for block in range(0, channels, BLOCK):
            i = block + tl.arange(0, BLOCK)
            z = _means_of(moments, n, i, images, channels, positions, spans, length, SPANS, wide)
            at, inside = matrix_at(r, i, width, channels)
            h = tl.dot(z, tl.trans(tl.load(w1 + at, mask=inside, other=0.0).to(wide)), h, input_precision="ieee", out_dtype=wide)
            to, there = matrix_at(n, i, images, tl.where((column == 0) & (first == 0), channels, 0))
            tl.store(squeeze + n[:, None] * channels + i[None, :], z, mask=there)
        h += loaded(b1, r, r < width, 0.0, wide)[None, :]
        h = tl.where(h <= 0, 0.0, h)
        to, there = matrix_at(n, r, images, width)
        tl.store(hidden + to, h, mask=there & where_first(column, n, images)[:, None])
        at, inside = matrix_at(c, r, channels, width)
        logit = tl.dot(h, tl.trans(tl.load(w2 + at, mask=inside, other=0.0).to(wide)), logit, input_precision="ieee", out_dtype=wide)
    gate = gate_of(logit + loaded(b2, c, c < channels, 0.0, wide)[None, :], GATE)
    to, inside = matrix_at(n, c, images, channels)
    tl.store(gates + to, gate, mask=inside)
    tl.store(s + to, gate * GAIN, mask=inside)


@triton.jit
def pair_statistics(
    mu, inverse_std, scale, shift, var, gamma, beta, running_mean, running_var, batches, momentum, moments, s, means, uv,
    images, channels, positions, spans, length, BATCH: tl.constexpr, EPS: tl.constexpr, BLOCK: tl.constexpr, IMAGES: tl.constexpr,
    SPANS: tl.constexpr,
):  # fmt: skip
    """Store the normalisation of v = s u + r, and of each map the mean of v and the centred sum of u v.

    Each level is put together exactly: spans of a map, u and r of the sum, images of the batch.
    """
    wide: tl.constexpr = moments.dtype.element_ty
    block = tl.program_id(0)
    c = block * BLOCK + tl.arange(0, BLOCK)
    counts = tl.minimum(positions - tl.arange(0, SPANS) * length, length).to(wide)[None, :, None]
    size, stride = tl.cast(positions, wide), images * spans * channels
    of_all, squares, seen = tl.zeros((BLOCK,), wide), tl.zeros((BLOCK,), wide), tl.zeros((BLOCK,), wide)
    for first in range(0, images, IMAGES):
        n = first + tl.arange(0, IMAGES)
        at, inside = parts_at(n, c, images, channels, spans, SPANS)
        of_u = tl.load(moments + at, mask=inside, other=0.0)
        of_r = tl.load(moments + stride + at, mask=inside, other=0.0)
        u, r = tl.sum(of_u * counts, axis=1) / size, tl.sum(of_r * counts, axis=1) / size
        by_u = tl.where(inside, of_u - tl.expand_dims(u, 1), 0.0)
        by_r = tl.where(inside, of_r - tl.expand_dims(r, 1), 0.0)
        uu = tl.sum(tl.load(moments + 2 * stride + at, mask=inside, other=0.0) + by_u * by_u * counts, axis=1)
        ur = tl.sum(tl.load(moments + 3 * stride + at, mask=inside, other=0.0) + by_u * by_r * counts, axis=1)
        rr = tl.sum(tl.load(moments + 4 * stride + at, mask=inside, other=0.0) + by_r * by_r * counts, axis=1)
        to, there = matrix_at(n, c, images, channels)
        gate = tl.load(s + to, mask=there, other=0.0)
        mean = gate * u + r
        tl.store(means + to, mean, mask=there)
        tl.store(uv + to, gate * uu + ur, mask=there)
        here = tl.cast(tl.minimum(images - first, IMAGES), wide)
        near = tl.sum(tl.where(there, mean, 0.0), axis=0) / here
        d = tl.where(there, mean - near[None, :], 0.0)
        around = tl.sum(gate * gate * uu + 2 * gate * ur + rr + size * d * d, axis=0)
        of_all, squares, seen = with_more(of_all, squares, seen, near, around, here * size)
    store_normalization(
        of_all, squares, seen, gamma, beta, running_mean, running_var, batches, momentum, mu, inverse_std, scale, shift, var,
        c, channels, 0, block, wide, BATCH, EPS,
    )  # fmt: skip


@triton.jit
def pair_gate_gradient(
    sums, mu, inverse_std, scale, dgamma, dbeta, kb, kd, gates, squeeze, means, uv, hidden, w2, dlogits, dw2, db2, partial,
    images, channels, positions, spans, width, DV: tl.constexpr, GAIN: tl.constexpr, GATE: tl.constexpr, BLOCK: tl.constexpr,
    IMAGES: tl.constexpr, SPANS: tl.constexpr, ROWS: tl.constexpr, HIDDEN: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    """Store the gradients of the normalisation and of the second FC, and what each block of channels adds to that of the hidden layer.

    Programs: the blocks of channels for each tile of hidden units; those of several tiles store the same values.
    """
    wide: tl.constexpr = sums.dtype.element_ty
    blocks = tl.cdiv(channels, BLOCK)
    tile, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    c = block * BLOCK + tl.arange(0, BLOCK)
    there = c < channels
    stride, size = images * spans * channels, tl.cast(positions, wide)
    count = tl.cast(images, wide) * size
    of_g, of_gv = over_parts(sums, sums + stride, c, images * spans, channels, PARTS, BLOCK, wide)
    of_gv *= loaded(inverse_std, c, there, 1.0, wide)
    store_norm_gradient(of_g, of_gv, count, mu, inverse_std, scale, dgamma, dbeta, kb, kd, c, there, wide)
    k = loaded(scale, c, there, 1.0, wide)
    by_v, constant = tl.zeros((BLOCK,), wide), tl.zeros((BLOCK,), wide)
    if kb is not None:
        by_v = -k * loaded(inverse_std, c, there, 1.0, wide) * of_gv / count
        constant = -k * of_g / count - by_v * loaded(mu, c, there, 0.0, wide)

    of_bias = tl.zeros((BLOCK,), wide)
    for first in range(0, images, IMAGES):
        n = first + tl.arange(0, IMAGES)
        at, inside = parts_at(n, c, images, channels, spans, SPANS)
        of_s = tl.sum(tl.load(sums + 2 * stride + at, mask=inside, other=0.0), axis=1) * k[None, :]
        if DV:
            of_s += tl.sum(tl.load(sums + 3 * stride + at, mask=inside, other=0.0), axis=1)
        to, exists = matrix_at(n, c, images, channels)
        z = tl.load(squeeze + to, mask=exists, other=0.0) * size
        mean = tl.load(means + to, mask=exists, other=0.0)
        of_s += constant[None, :] * z + by_v[None, :] * (tl.load(uv + to, mask=exists, other=0.0) + mean * z)
        d = of_s * derivative_of(tl.load(gates + to, mask=exists, other=0.0), GATE) * GAIN
        tl.store(dlogits + to, d, mask=exists)
        of_bias += tl.sum(tl.where(exists, d, 0.0), axis=0)
    if db2 is not None:
        tl.store(db2 + c, of_bias, mask=where_first(tile, c, channels))
    tl.debug_barrier()  # what other threads stored is there
    r = tile * HIDDEN + tl.arange(0, HIDDEN)
    weight_gradient(dlogits, hidden, w2, dw2, partial, block, c, r, images, channels, width, ROWS, BLOCK, HIDDEN)
