"""The device code of the passes over branch and shortcut together, in Triton: one source for both memory formats and all types.

v = s u + r is rounded to the type of the maps before it is normalised, so that v as it is stored says where the ReLU was open: the backward
passes, which read v anyway, read no mask. For sums and tiles see `kernels`.
"""

# ruff: noqa: N803
# pyright: reportArgumentType=false, reportIndexIssue=false, reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

import triton
import triton.language as tl

from senet.ops.passes.triton.tiles import existing, of_channels, offsets_in, place, split, values

# Pointers, by the names of the arguments; sizes are those of `Grid`: channels = C, positions = S = H W, spans of `length` positions each.
#   maps (N, C, S) in either format: u and r (branch and shortcut), v and a (the sum, and what the ReLU made of it), their gradients du, dr,
#       dv and da
#   vectors (C,): k and t (scale and shift), mu (means of v), kb, kc;  (N, C): s (gates, with gain), dz (what comes through the squeeze)
#   parts (5, N, spans, C): moments, means of u and r, centred sums of u u, u r and r r;  (N, spans, C): mean, m2 (of v);
#       (2 to 4, N, spans, C): sums


@triton.jit
def _first_mean(x, at, offsets, inside, count, WIDE: tl.constexpr, AXIS: tl.constexpr):
    """Return a tile of a map, and its means over positions, by which sums are shifted."""
    tile = values(x, at, offsets, inside, WIDE)
    return tile, tl.expand_dims(tl.sum(tile, axis=AXIS) / count, AXIS)


@triton.jit
def pair_moments(
    u, r, moments, images, channels, positions, c_stride, s_stride, spans, length,
    CHANNELS: tl.constexpr, POSITIONS: tl.constexpr, AXIS: tl.constexpr,
):  # fmt: skip
    """Store the moments of each map over each span of `length` positions; sums are shifted as those of `kernels.moments`."""
    wide: tl.constexpr = moments.dtype.element_ty
    image, span, first = split(tl.program_id(0), spans, channels, CHANNELS)
    start = span * length
    stop = tl.minimum(start + length, positions)
    size = tl.cast(channels, tl.int64) * positions
    offsets = offsets_in(c_stride, s_stride, CHANNELS, POSITIONS, AXIS)

    inside = existing(start, stop, first, channels, CHANNELS, POSITIONS, AXIS)
    at = place(image, start, first, size, c_stride, s_stride)
    near = tl.minimum(POSITIONS, stop - start).to(wide)
    branch, u_shift = _first_mean(u, at, offsets, inside, near, wide, AXIS)
    shortcut, r_shift = _first_mean(r, at, offsets, inside, near, wide, AXIS)
    of_u = tl.where(inside, branch - u_shift, 0.0)
    of_r = tl.where(inside, shortcut - r_shift, 0.0)
    uu, ur, rr = of_u * of_u, of_u * of_r, of_r * of_r
    for s in range(start + POSITIONS, stop, POSITIONS):
        inside = existing(s, stop, first, channels, CHANNELS, POSITIONS, AXIS)
        at = place(image, s, first, size, c_stride, s_stride)
        du = tl.where(inside, values(u, at, offsets, inside, wide) - u_shift, 0.0)
        dr = tl.where(inside, values(r, at, offsets, inside, wide) - r_shift, 0.0)
        of_u += du
        of_r += dr
        uu += du * du
        ur += du * dr
        rr += dr * dr

    count = (stop - start).to(wide)
    total_u, total_r = tl.sum(of_u, axis=AXIS), tl.sum(of_r, axis=AXIS)
    mean_u, mean_r = total_u / count, total_r / count
    c = first + tl.arange(0, CHANNELS)
    there = c < channels
    to = (image * spans + span) * channels + c
    stride = tl.cast(images, tl.int64) * spans * channels
    tl.store(moments + to, tl.reshape(u_shift, (CHANNELS,)) + mean_u, mask=there)
    tl.store(moments + stride + to, tl.reshape(r_shift, (CHANNELS,)) + mean_r, mask=there)
    tl.store(moments + 2 * stride + to, tl.sum(uu, axis=AXIS) - total_u * mean_u, mask=there)
    tl.store(moments + 3 * stride + to, tl.sum(ur, axis=AXIS) - total_u * mean_r, mask=there)
    tl.store(moments + 4 * stride + to, tl.sum(rr, axis=AXIS) - total_r * mean_r, mask=there)


@triton.jit
def add_pair(
    u, r, v, mean, m2, channels, positions, c_stride, s_stride, spans, length,
    CHANNELS: tl.constexpr, POSITIONS: tl.constexpr, AXIS: tl.constexpr,
):  # fmt: skip
    """Store v = u + r and, as `kernels.moments` does, the mean and the centred square of v as it is stored."""
    wide: tl.constexpr = mean.dtype.element_ty
    image, span, first = split(tl.program_id(0), spans, channels, CHANNELS)
    start = span * length
    stop = tl.minimum(start + length, positions)
    size = tl.cast(channels, tl.int64) * positions
    offsets = offsets_in(c_stride, s_stride, CHANNELS, POSITIONS, AXIS)

    inside = existing(start, stop, first, channels, CHANNELS, POSITIONS, AXIS)
    total = _store_sum(u, r, v, place(image, start, first, size, c_stride, s_stride), offsets, inside, wide)
    shift = tl.expand_dims(tl.sum(total, axis=AXIS) / tl.minimum(POSITIONS, stop - start).to(wide), AXIS)
    d = tl.where(inside, total - shift, 0.0)
    of_v, squares = d, d * d
    for s in range(start + POSITIONS, stop, POSITIONS):
        inside = existing(s, stop, first, channels, CHANNELS, POSITIONS, AXIS)
        total = _store_sum(u, r, v, place(image, s, first, size, c_stride, s_stride), offsets, inside, wide)
        d = tl.where(inside, total - shift, 0.0)
        of_v += d
        squares += d * d

    of_all = tl.sum(of_v, axis=AXIS)
    near = of_all / (stop - start).to(wide)
    c = first + tl.arange(0, CHANNELS)
    to = (image * spans + span) * channels + c
    tl.store(mean + to, tl.reshape(shift, (CHANNELS,)) + near, mask=c < channels)
    tl.store(m2 + to, tl.sum(squares, axis=AXIS) - of_all * near, mask=c < channels)


@triton.jit
def _store_sum(u, r, v, at, offsets, inside, WIDE: tl.constexpr):
    """Store the sum of two tiles, and return it as it is stored."""
    total = (values(u, at, offsets, inside, WIDE) + values(r, at, offsets, inside, WIDE)).to(v.dtype.element_ty)
    tl.store(v + at + offsets, total, mask=inside)
    return total.to(WIDE)


@triton.jit
def apply_pair(
    u, r, s, k, t, v, a, channels, positions, c_stride, s_stride, tiles,
    CHANNELS: tl.constexpr, POSITIONS: tl.constexpr, AXIS: tl.constexpr,
):  # fmt: skip
    """Store v = s u + r and a = relu(k v + t), s None = 1, with r None only a, of v = u; a ReLU lets NaN pass, as torch's does."""
    wide: tl.constexpr = k.dtype.element_ty
    # From the last tile to the first: what the reduction before it read last may still be in the cache.
    image, tile, first = split(tl.num_programs(0) - 1 - tl.program_id(0), tiles, channels, CHANNELS)
    start = tile * POSITIONS
    inside = existing(start, positions, first, channels, CHANNELS, POSITIONS, AXIS)
    at = place(image, start, first, tl.cast(channels, tl.int64) * positions, c_stride, s_stride)
    offsets = offsets_in(c_stride, s_stride, CHANNELS, POSITIONS, AXIS)

    total = values(u, at, offsets, inside, wide)
    if r is not None:
        if s is not None:
            total *= of_channels(s, image * channels, first, channels, wide, CHANNELS, AXIS)
        total = (total + values(r, at, offsets, inside, wide)).to(v.dtype.element_ty)
        tl.store(v + at + offsets, total, mask=inside)
    activated = _normalised(total, k, t, first, channels, wide, CHANNELS, AXIS)
    tl.store(a + at + offsets, tl.where(activated <= 0, 0.0, activated), mask=inside)


@triton.jit
def _normalised(v, k, t, first, channels, WIDE: tl.constexpr, CHANNELS: tl.constexpr, AXIS: tl.constexpr):
    """Return k v + t, with one rounding in every kernel, so that all agree on its sign."""
    by_v, constant = of_channels(k, 0, first, channels, WIDE, CHANNELS, AXIS), of_channels(t, 0, first, channels, WIDE, CHANNELS, AXIS)
    return tl.fma(v.to(WIDE), by_v, constant)


@triton.jit
def _opened(
    da, v, k, t, at, offsets, inside, first, channels, WIDE: tl.constexpr, CHANNELS: tl.constexpr, AXIS: tl.constexpr
):  # fmt: skip
    """Load g, da where what was stored of relu(k v + t) is positive and 0 elsewhere, and v."""
    total = values(v, at, offsets, inside, WIDE)
    activated = _normalised(total, k, t, first, channels, WIDE, CHANNELS, AXIS).to(v.dtype.element_ty).to(WIDE)
    return tl.where(activated > 0, values(da, at, offsets, inside, WIDE), 0.0), total


@triton.jit
def reduce_pair(
    da, v, k, t, mu, u, dv, sums, images, channels, positions, c_stride, s_stride, spans, length,
    CHANNELS: tl.constexpr, POSITIONS: tl.constexpr, AXIS: tl.constexpr,
):  # fmt: skip
    """Store sum g, sum g (v - mu) and, unless u is None, sum g u and, unless dv is None, sum dv u over each span."""
    wide: tl.constexpr = sums.dtype.element_ty
    image, span, first = split(tl.program_id(0), spans, channels, CHANNELS)
    start = span * length
    stop = tl.minimum(start + length, positions)
    size = tl.cast(channels, tl.int64) * positions
    offsets = offsets_in(c_stride, s_stride, CHANNELS, POSITIONS, AXIS)
    mean = of_channels(mu, 0, first, channels, wide, CHANNELS, AXIS)

    of_g, of_gv, of_gu, of_dvu = (
        tl.zeros(offsets.shape, wide), tl.zeros(offsets.shape, wide), tl.zeros(offsets.shape, wide), tl.zeros(offsets.shape, wide)
    )  # fmt: skip
    for s in range(start, stop, POSITIONS):
        inside = existing(s, stop, first, channels, CHANNELS, POSITIONS, AXIS)
        at = place(image, s, first, size, c_stride, s_stride)
        g, total = _opened(da, v, k, t, at, offsets, inside, first, channels, wide, CHANNELS, AXIS)
        of_g += g
        of_gv += g * (total - mean)
        if u is not None:
            branch = values(u, at, offsets, inside, wide)
            of_gu += g * branch
            if dv is not None:
                of_dvu += values(dv, at, offsets, inside, wide) * branch

    c = first + tl.arange(0, CHANNELS)
    there = c < channels
    to = (image * spans + span) * channels + c
    stride = tl.cast(images, tl.int64) * spans * channels
    tl.store(sums + to, tl.sum(of_g, axis=AXIS), mask=there)
    tl.store(sums + stride + to, tl.sum(of_gv, axis=AXIS), mask=there)
    if u is not None:
        tl.store(sums + 2 * stride + to, tl.sum(of_gu, axis=AXIS), mask=there)
        if dv is not None:
            tl.store(sums + 3 * stride + to, tl.sum(of_dvu, axis=AXIS), mask=there)


@triton.jit
def spread_pair(
    da, v, k, t, kb, kc, dv, s, dz, dr, du, channels, positions, c_stride, s_stride, tiles,
    CHANNELS: tl.constexpr, POSITIONS: tl.constexpr, AXIS: tl.constexpr,
):  # fmt: skip
    """Store dr = k g + kb v + kc + dv, kb, kc and dv None = 0, and unless s is None du = s dr + dz."""
    wide: tl.constexpr = k.dtype.element_ty
    image, tile, first = split(tl.num_programs(0) - 1 - tl.program_id(0), tiles, channels, CHANNELS)
    start = tile * POSITIONS
    inside = existing(start, positions, first, channels, CHANNELS, POSITIONS, AXIS)
    at = place(image, start, first, tl.cast(channels, tl.int64) * positions, c_stride, s_stride)
    offsets = offsets_in(c_stride, s_stride, CHANNELS, POSITIONS, AXIS)

    g, total = _opened(da, v, k, t, at, offsets, inside, first, channels, wide, CHANNELS, AXIS)
    d = g * of_channels(k, 0, first, channels, wide, CHANNELS, AXIS)
    if kc is not None:
        d += of_channels(kc, 0, first, channels, wide, CHANNELS, AXIS)
    if kb is not None:
        d += total * of_channels(kb, 0, first, channels, wide, CHANNELS, AXIS)
    if dv is not None:
        d += values(dv, at, offsets, inside, wide)
    tl.store(dr + at + offsets, d, mask=inside)
    if s is not None:
        d *= of_channels(s, image * channels, first, channels, wide, CHANNELS, AXIS)
        tl.store(du + at + offsets, d + of_channels(dz, image * channels, first, channels, wide, CHANNELS, AXIS), mask=inside)
