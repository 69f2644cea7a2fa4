"""The device code of the passes in Triton: one source for both memory formats and all types.

Sums are kept in the element type of what they are stored to. A pointer that is None drops its part of the kernel when it is compiled.
"""

# ruff: noqa: N803
# pyright: reportArgumentType=false, reportIndexIssue=false, reportOptionalMemberAccess=false, reportAttributeAccessIssue=false
# pyright: reportGeneralTypeIssues=false

import triton
import triton.language as tl

from senet.ops.passes.triton.tiles import existing, gradient, of_channels, offsets_in, place, split, store_rectified, values

STAGES = tl.constexpr(3)
"""Tiles of a reduction that are on their way or at work at a time: a thread has 16 bytes of each, too few to wait for every one."""

# Pointers, by the names of the arguments; sizes are those of `Grid`: channels = C, positions = S = H W, spans of `length` positions each.
#   maps (N, C, S) in either format: x, r and b (the branch, the shortcut, what is added), dy and a (the gradient; what is scaled),
#       g_out (the gradient behind the ReLU, if it is stored), out
#   relu_mask: the map behind the ReLU, (N, C, S), or its bits, (N, S, row) or (N, C, row) bytes; mask: such bits, to be written
#   vectors (C,): mu and r_mu (means), kb, kd, ra, rb and rd;  (N, C): ka, kc, mean_of_all, m2_of_all
#   parts (N, spans, C): mean, m2;  (K, N, spans, C): sums;  (K, N, C): sums_of_all


@triton.jit
def moments(
    x, mean, m2, r, r_mean, r_m2, channels, positions, c_stride, s_stride, spans, length,
    CHANNELS: tl.constexpr, POSITIONS: tl.constexpr, AXIS: tl.constexpr,
):  # fmt: skip
    """Store what `_moments_of` does of x and, by as many programs again, of r unless it is None."""
    if r is None:
        _moments_of(
            x, mean, m2, tl.program_id(0), channels, positions, c_stride, s_stride, spans, length, CHANNELS, POSITIONS, AXIS
        )  # fmt: skip
    else:
        half = tl.num_programs(0) // 2
        program = tl.program_id(0)
        if program < half:
            _moments_of(x, mean, m2, program, channels, positions, c_stride, s_stride, spans, length, CHANNELS, POSITIONS, AXIS)
        else:
            _moments_of(
                r, r_mean, r_m2, program - half, channels, positions, c_stride, s_stride, spans, length, CHANNELS, POSITIONS, AXIS
            )  # fmt: skip


@triton.jit
def _moments_of(
    x, mean, m2, program, channels, positions, c_stride, s_stride, spans, length,
    CHANNELS: tl.constexpr, POSITIONS: tl.constexpr, AXIS: tl.constexpr,
):  # fmt: skip
    """Store the mean and, unless m2 is None, the centred square of each map over each span of `length` positions: (N, spans, C).

    Sums are shifted by the mean of the span's first tile. As a mean of a share f of the same data it is off by at most sqrt(1 / f - 1)
    standard deviations, so a sum of squares loses a factor of about 1 / f in precision at worst, whatever the data's mean.
    """
    wide: tl.constexpr = mean.dtype.element_ty
    image, span, first = split(program, spans, channels, CHANNELS)
    start = span * length
    stop = tl.minimum(start + length, positions)
    size = tl.cast(channels, tl.int64) * positions
    offsets = offsets_in(c_stride, s_stride, CHANNELS, POSITIONS, AXIS)

    inside = existing(start, stop, first, channels, CHANNELS, POSITIONS, AXIS)
    tile = values(x, place(image, start, first, size, c_stride, s_stride), offsets, inside, wide)
    shift = tl.sum(tile, axis=AXIS) / tl.minimum(POSITIONS, stop - start).to(wide)
    by = tl.expand_dims(shift, AXIS)
    d = tl.where(inside, tile - by, 0.0)
    total = d
    squares = d * d
    for s in tl.range(start + POSITIONS, stop, POSITIONS, num_stages=STAGES):
        inside = existing(s, stop, first, channels, CHANNELS, POSITIONS, AXIS)
        tile = values(x, place(image, s, first, size, c_stride, s_stride), offsets, inside, wide)
        d = tl.where(inside, tile - by, 0.0)
        total += d
        if m2 is not None:
            squares += d * d

    count = (stop - start).to(wide)
    total = tl.sum(total, axis=AXIS)
    c = first + tl.arange(0, CHANNELS)
    to = (image * spans + span) * channels + c
    tl.store(mean + to, shift + total / count, mask=c < channels)
    if m2 is not None:
        tl.store(m2 + to, tl.sum(squares, axis=AXIS) - total * (total / count), mask=c < channels)


@triton.jit
def _of_maps(maps, channels, spans, SPANS: tl.constexpr, BLOCK: tl.constexpr):
    """Return a block of maps, where each one's parts of (N, spans, C) lie, as a tile (SPANS, BLOCK), and which of them exist."""
    i, span = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK), tl.arange(0, SPANS)
    at = (i // channels * spans * channels + i % channels)[None, :] + (span * channels)[:, None]
    return i, at, (i < maps)[None, :] & (span < spans)[:, None]


@triton.jit
def merge_moments(
    mean, m2, mean_of_all, m2_of_all, maps, channels, positions, spans, length, SPANS: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """Merge what `moments` stored for each span: exact in two levels (Chan et al.), with means shifted by the first span's."""
    wide: tl.constexpr = mean.dtype.element_ty
    i, at, inside = _of_maps(maps, channels, spans, SPANS, BLOCK)
    count = tl.minimum(positions - tl.arange(0, SPANS) * length, length).to(wide)[:, None]
    shift = tl.load(mean + i // channels * spans * channels + i % channels, mask=i < maps, other=0.0)
    d = tl.where(inside, tl.load(mean + at, mask=inside, other=0.0) - shift[None, :], 0.0)
    further = tl.sum(d * count, axis=0) / positions
    tl.store(mean_of_all + i, shift + further, mask=i < maps)
    if m2 is not None:
        d -= further[None, :]
        squares = tl.where(inside, tl.load(m2 + at, mask=inside, other=0.0) + d * d * count, 0.0)
        tl.store(m2_of_all + i, tl.sum(squares, axis=0), mask=i < maps)


@triton.jit
def reduce(
    dy, relu_mask, row, x, mu, r, r_mu, g_out, sums, images, channels, positions, c_stride, s_stride, spans, length,
    CHANNELS: tl.constexpr, POSITIONS: tl.constexpr, AXIS: tl.constexpr,
):  # fmt: skip
    """Store sum g, sum g (x - mu) and, unless r is None, sum g (r - r_mu) over each span, (2 or 3, N, spans, C), and g as it is met."""
    wide: tl.constexpr = sums.dtype.element_ty
    image, span, first = split(tl.program_id(0), spans, channels, CHANNELS)
    start = span * length
    stop = tl.minimum(start + length, positions)
    size = tl.cast(channels, tl.int64) * positions
    offsets = offsets_in(c_stride, s_stride, CHANNELS, POSITIONS, AXIS)
    x_mean = of_channels(mu, 0, first, channels, wide, CHANNELS, AXIS)
    r_mean = x_mean
    if r is not None:
        r_mean = of_channels(r_mu, 0, first, channels, wide, CHANNELS, AXIS)

    total = tl.zeros(offsets.shape, wide)
    by_x = tl.zeros(offsets.shape, wide)
    by_r = tl.zeros(offsets.shape, wide)
    for s in tl.range(start, stop, POSITIONS, num_stages=STAGES):
        inside = existing(s, stop, first, channels, CHANNELS, POSITIONS, AXIS)
        at = place(image, s, first, size, c_stride, s_stride)
        g = gradient(
            dy, relu_mask, row, image, s, stop, first, channels, positions, at, offsets, inside, wide, CHANNELS, POSITIONS, AXIS
        )  # fmt: skip
        total += g
        by_x += g * (values(x, at, offsets, inside, wide) - x_mean)
        if r is not None:
            by_r += g * (values(r, at, offsets, inside, wide) - r_mean)
        if g_out is not None:
            tl.store(g_out + at + offsets, g, mask=inside)

    c = first + tl.arange(0, CHANNELS)
    to = (image * spans + span) * channels + c
    stride = tl.cast(images, tl.int64) * spans * channels
    tl.store(sums + to, tl.sum(total, axis=AXIS), mask=c < channels)
    tl.store(sums + stride + to, tl.sum(by_x, axis=AXIS), mask=c < channels)
    if r is not None:
        tl.store(sums + 2 * stride + to, tl.sum(by_r, axis=AXIS), mask=c < channels)


@triton.jit
def merge_sums(sums, sums_of_all, maps, channels, spans, SPANS: tl.constexpr, BLOCK: tl.constexpr):
    """Add what `reduce` stored for each span."""
    i, at, inside = _of_maps(maps, channels, spans, SPANS, BLOCK)
    tl.store(sums_of_all + i, tl.sum(tl.load(sums + at, mask=inside, other=0.0), axis=0), mask=i < maps)


@triton.jit
def affine(
    a, relu_mask, row, ka, kc, k_stride, b, kb, kd, out, mask, channels, positions, c_stride, s_stride, tiles,
    CHANNELS: tl.constexpr, POSITIONS: tl.constexpr, AXIS: tl.constexpr, RELU: tl.constexpr,
):  # fmt: skip
    """Store f(ka a + kc + b') and its mask, a as in `gradient`, b' = kb b + kd (kb None = 1, kd None = 0), b, or nothing.

    ka and kc are (N, C), or (C,) with `k_stride`, from one image to the next, 0; kc None = 0. kb and kd are (C,).
    """
    wide: tl.constexpr = ka.dtype.element_ty
    # From the last tile to the first: what the reduction before it read last may still be in the cache.
    image, tile, first = split(tl.num_programs(0) - 1 - tl.program_id(0), tiles, channels, CHANNELS)
    start = tile * POSITIONS
    inside = existing(start, positions, first, channels, CHANNELS, POSITIONS, AXIS)
    at = place(image, start, first, tl.cast(channels, tl.int64) * positions, c_stride, s_stride)
    offsets = offsets_in(c_stride, s_stride, CHANNELS, POSITIONS, AXIS)

    v = gradient(
        a, relu_mask, row, image, start, positions, first, channels, positions, at, offsets, inside, wide, CHANNELS, POSITIONS, AXIS
    )  # fmt: skip
    v *= of_channels(ka, image * k_stride, first, channels, wide, CHANNELS, AXIS)
    if kc is not None:
        v += of_channels(kc, image * k_stride, first, channels, wide, CHANNELS, AXIS)
    if b is not None:
        other = values(b, at, offsets, inside, wide)
        if kb is not None:
            other *= of_channels(kb, 0, first, channels, wide, CHANNELS, AXIS)
        v += other
    if kd is not None:
        v += of_channels(kd, 0, first, channels, wide, CHANNELS, AXIS)
    store_rectified(
        out, v, mask, row, image, start, first, channels, positions, at, offsets, inside, CHANNELS, POSITIONS, AXIS, RELU
    )  # fmt: skip


@triton.jit
def spread_both(
    dy, relu_mask, row, x, ka, kc, k_stride, kb, kd, r, ra, rb, rd, dx, dr, channels, positions, c_stride, s_stride, tiles,
    CHANNELS: tl.constexpr, POSITIONS: tl.constexpr, AXIS: tl.constexpr,
):  # fmt: skip
    """Store dx = ka g + kc + kb x + kd and dr = ra g + rb r + rd, g as in `gradient`; kc, kb with kd, and rb with rd None = 0.

    ka and kc are as in `affine`, the rest (C,).
    """
    wide: tl.constexpr = ka.dtype.element_ty
    image, tile, first = split(tl.num_programs(0) - 1 - tl.program_id(0), tiles, channels, CHANNELS)
    start = tile * POSITIONS
    inside = existing(start, positions, first, channels, CHANNELS, POSITIONS, AXIS)
    at = place(image, start, first, tl.cast(channels, tl.int64) * positions, c_stride, s_stride)
    offsets = offsets_in(c_stride, s_stride, CHANNELS, POSITIONS, AXIS)

    g = gradient(
        dy, relu_mask, row, image, start, positions, first, channels, positions, at, offsets, inside, wide, CHANNELS, POSITIONS, AXIS
    )  # fmt: skip
    v = g * of_channels(ka, image * k_stride, first, channels, wide, CHANNELS, AXIS)
    if kc is not None:
        v += of_channels(kc, image * k_stride, first, channels, wide, CHANNELS, AXIS)
    if kb is not None:
        v += values(x, at, offsets, inside, wide) * of_channels(kb, 0, first, channels, wide, CHANNELS, AXIS)
        v += of_channels(kd, 0, first, channels, wide, CHANNELS, AXIS)
    tl.store(dx + at + offsets, v, mask=inside)
    v = g * of_channels(ra, 0, first, channels, wide, CHANNELS, AXIS)
    if rb is not None:
        v += values(r, at, offsets, inside, wide) * of_channels(rb, 0, first, channels, wide, CHANNELS, AXIS)
        v += of_channels(rd, 0, first, channels, wide, CHANNELS, AXIS)
    tl.store(dr + at + offsets, v, mask=inside)
