"""The device code of the passes in Triton: one source for both memory formats and all types.

A program works on tiles of `CHANNELS` x `POSITIONS` elements of one image. `AXIS` is the axis of a tile that runs over positions: 0 for
channels_last, 1 for contiguous maps, so that the last axis is always the one that is contiguous in memory; a vector over channels meets a
tile through `expand_dims(v, AXIS)`. Sums are kept in the element type of what they are stored to. A pointer that is None drops its part of
the kernel when it is compiled. Offsets of a tile are 64 bits wide, offsets in it 32.
"""

# ruff: noqa: N803
# pyright: reportArgumentType=false, reportIndexIssue=false, reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

import triton
import triton.language as tl


@triton.jit
def _split(program, spans, channels, CHANNELS: tl.constexpr):
    """Return image (64 bits), span and first channel of a program; neighbours share their positions."""
    blocks = tl.cdiv(channels, CHANNELS)
    image = program // (blocks * spans)
    return image.to(tl.int64), program // blocks % spans, program % blocks * CHANNELS


@triton.jit
def _inside(start, stop, first, channels, CHANNELS: tl.constexpr, POSITIONS: tl.constexpr, AXIS: tl.constexpr):
    """Return which elements of the tile at a first channel and position exist."""
    c, s = first + tl.arange(0, CHANNELS) < channels, start + tl.arange(0, POSITIONS) < stop
    return tl.expand_dims(c, AXIS) & tl.expand_dims(s, 1 - AXIS)


@triton.jit
def _offsets(c_stride, s_stride, CHANNELS: tl.constexpr, POSITIONS: tl.constexpr, AXIS: tl.constexpr):
    """Return where the elements of a tile lie after its first one."""
    c, s = tl.arange(0, CHANNELS) * c_stride, tl.arange(0, POSITIONS) * s_stride
    return tl.expand_dims(c, AXIS) + tl.expand_dims(s, 1 - AXIS)


@triton.jit
def _gradient(dy, y, origin, offsets, inside, WIDE: tl.constexpr):
    """Load g: dy where y is positive, else 0; where there is no y, dy."""
    g = tl.load(dy + origin + offsets, mask=inside, other=0.0)
    if y is not None:
        g = tl.where(tl.load(y + origin + offsets, mask=inside, other=0.0) > 0, g, 0.0)
    return g.to(WIDE)


@triton.jit
def moments(
    x, mean, m2, channels, positions, c_stride, s_stride, spans, length,
    CHANNELS: tl.constexpr, POSITIONS: tl.constexpr, AXIS: tl.constexpr,
):  # fmt: skip
    """Store the mean and, unless m2 is None, the centred square of each map over each span of `length` positions: (N, spans, C).

    Sums are shifted by the mean of the span's first tile. As a mean of a share f of the same data it is off by at most sqrt(1 / f - 1)
    standard deviations, so a sum of squares loses a factor of about 1 / f in precision at worst, whatever the data's mean.
    """
    wide: tl.constexpr = mean.dtype.element_ty
    image, span, first = _split(tl.program_id(0), spans, channels, CHANNELS)
    start = span * length
    stop = tl.minimum(start + length, positions)
    x += image * channels * positions + tl.cast(first, tl.int64) * c_stride
    offsets = _offsets(c_stride, s_stride, CHANNELS, POSITIONS, AXIS)

    inside = _inside(start, stop, first, channels, CHANNELS, POSITIONS, AXIS)
    tile = tl.load(x + tl.cast(start, tl.int64) * s_stride + offsets, mask=inside, other=0.0).to(wide)
    shift = tl.sum(tile, axis=AXIS) / tl.minimum(POSITIONS, stop - start).to(wide)
    by = tl.expand_dims(shift, AXIS)
    d = tl.where(inside, tile - by, 0.0)
    total = d
    squares = d * d
    for s in range(start + POSITIONS, stop, POSITIONS):
        inside = _inside(s, stop, first, channels, CHANNELS, POSITIONS, AXIS)
        tile = tl.load(x + tl.cast(s, tl.int64) * s_stride + offsets, mask=inside, other=0.0).to(wide)
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
    dy, y, x, mu, r, r_mu, g_kept, sums, images, channels, positions, c_stride, s_stride, spans, length,
    CHANNELS: tl.constexpr, POSITIONS: tl.constexpr, AXIS: tl.constexpr,
):  # fmt: skip
    """Store sum g, sum g (x - mu) and, unless r is None, sum g (r - r_mu) over each span, (2 or 3, N, spans, C), and g as it is met."""
    wide: tl.constexpr = sums.dtype.element_ty
    image, span, first = _split(tl.program_id(0), spans, channels, CHANNELS)
    start = span * length
    stop = tl.minimum(start + length, positions)
    origin = image * channels * positions + tl.cast(first, tl.int64) * c_stride
    offsets = _offsets(c_stride, s_stride, CHANNELS, POSITIONS, AXIS)
    c = first + tl.arange(0, CHANNELS)
    x_mean = tl.expand_dims(tl.load(mu + c, mask=c < channels, other=0.0).to(wide), AXIS)
    r_mean = x_mean
    if r is not None:
        r_mean = tl.expand_dims(tl.load(r_mu + c, mask=c < channels, other=0.0).to(wide), AXIS)

    total = tl.zeros(offsets.shape, wide)
    by_x = tl.zeros(offsets.shape, wide)
    by_r = tl.zeros(offsets.shape, wide)
    for s in range(start, stop, POSITIONS):
        inside = _inside(s, stop, first, channels, CHANNELS, POSITIONS, AXIS)
        at = origin + tl.cast(s, tl.int64) * s_stride
        g = _gradient(dy, y, at, offsets, inside, wide)
        total += g
        by_x += g * (tl.load(x + at + offsets, mask=inside, other=0.0).to(wide) - x_mean)
        if r is not None:
            by_r += g * (tl.load(r + at + offsets, mask=inside, other=0.0).to(wide) - r_mean)
        if g_kept is not None:
            tl.store(g_kept + at + offsets, g, mask=inside)

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
    a, y, ka, kc, b, kb, kd, out, channels, positions, c_stride, s_stride, tiles,
    CHANNELS: tl.constexpr, POSITIONS: tl.constexpr, AXIS: tl.constexpr, RELU: tl.constexpr,
):  # fmt: skip
    """Store f(ka a + kc + b'), a masked by y as in `_gradient`, b' = kb b + kd (kb None = 1, kd None = 0), b, or nothing.

    ka and kc are (N, C), kb and kd (C,). A ReLU lets NaN pass, as torch's does.
    """
    wide: tl.constexpr = ka.dtype.element_ty
    # From the last tile to the first: what the reduction before it read last may still be in the cache.
    image, tile, first = _split(tl.num_programs(0) - 1 - tl.program_id(0), tiles, channels, CHANNELS)
    start = tile * POSITIONS
    inside = _inside(start, positions, first, channels, CHANNELS, POSITIONS, AXIS)
    origin = image * channels * positions + tl.cast(first, tl.int64) * c_stride + tl.cast(start, tl.int64) * s_stride
    offsets = _offsets(c_stride, s_stride, CHANNELS, POSITIONS, AXIS)
    c = first + tl.arange(0, CHANNELS)
    of_map = image * channels + c

    v = _gradient(a, y, origin, offsets, inside, wide) * tl.expand_dims(tl.load(ka + of_map, mask=c < channels, other=0.0), AXIS)
    v += tl.expand_dims(tl.load(kc + of_map, mask=c < channels, other=0.0), AXIS)
    if b is not None:
        other = tl.load(b + origin + offsets, mask=inside, other=0.0).to(wide)
        if kb is not None:
            other *= tl.expand_dims(tl.load(kb + c, mask=c < channels, other=0.0).to(wide), AXIS)
        v += other
    if kd is not None:
        v += tl.expand_dims(tl.load(kd + c, mask=c < channels, other=0.0).to(wide), AXIS)
    if RELU:
        v = tl.where(v <= 0, 0.0, v)
    tl.store(out + origin + offsets, v, mask=inside)
