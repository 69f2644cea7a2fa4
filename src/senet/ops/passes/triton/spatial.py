"""The device code of the passes that gate positions, in Triton: one source for both memory formats and all types.

What a position is worth needs all its channels, so a program has all channels of its positions. Where one tile holds them (`WHOLE`) maps
are read once; else a program goes over its channels twice, the second time with what the first one found. For sums and pointers see
`kernels`.
"""

# ruff: noqa: N803
# pyright: reportArgumentType=false, reportIndexIssue=false, reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

import triton
import triton.language as tl

from senet.ops.passes.triton.tiles import existing, gradient, of_channels, of_positions, offsets_in, place, split, store_rectified, values

# Pointers, by the names of the arguments; sizes are those of `Grid`: channels = C, positions = S = H W, spans of `length` positions each.
#   maps (N, C, S) in either format: x and r (branch and shortcut), y, dy, g_out (the gradient behind the ReLU, if it is stored), out
#   relu_mask: the map behind the ReLU, or its bits, (N, S, row) or (N, C, row) bytes; mask: such bits, to be written
#   vectors (C,): k, t, w, rk, rt, mu, r_mu, kb, ks, kw;  (N, C): s, ka, kc;  (1,): bias;  (N, S): gates, dq
#   parts (5 or 6, N, spans, C): sums


@triton.jit
def apply_positions(
    x, k, t, w, bias, s, r, rk, rt, y, mask, row, gates, channels, positions, c_stride, s_stride, tiles,
    CHANNELS: tl.constexpr, POSITIONS: tl.constexpr, AXIS: tl.constexpr, WHOLE: tl.constexpr, RELU: tl.constexpr,
):  # fmt: skip
    """Store ss = sigmoid(sum_c w x + bias) of each position, y = f((k x + t) (s + ss) + rk r + rt), and its mask.

    k, t, w, rk and rt are (C,), s is (N, C), the gates ss are (N, S); s and rt None = 0, rk None = 1, r None = no shortcut.
    """
    wide: tl.constexpr = k.dtype.element_ty
    last = CHANNELS if WHOLE else channels
    program = tl.num_programs(0) - 1 - tl.program_id(0)  # from the last tile to the first, as in `affine`
    image, start = (program // tiles).to(tl.int64), program % tiles * POSITIONS
    size = tl.cast(channels, tl.int64) * positions
    offsets = offsets_in(c_stride, s_stride, CHANNELS, POSITIONS, AXIS)

    tile = tl.zeros(offsets.shape, wide)
    by_w = tl.zeros(offsets.shape, wide)
    for first in range(0, last, CHANNELS):
        inside = existing(start, positions, first, channels, CHANNELS, POSITIONS, AXIS)
        tile = values(x, place(image, start, first, size, c_stride, s_stride), offsets, inside, wide)
        by_w += tile * of_channels(w, 0, first, channels, wide, CHANNELS, AXIS)
    gate = tl.sigmoid(tl.sum(by_w, axis=1 - AXIS) + tl.load(bias).to(wide))
    p = start + tl.arange(0, POSITIONS)
    tl.store(gates + image * positions + p, gate, mask=p < positions)
    gate = tl.expand_dims(gate, 1 - AXIS)

    for first in range(0, last, CHANNELS):
        inside = existing(start, positions, first, channels, CHANNELS, POSITIONS, AXIS)
        at = place(image, start, first, size, c_stride, s_stride)
        if not WHOLE:
            tile = values(x, at, offsets, inside, wide)
        v = tile * of_channels(k, 0, first, channels, wide, CHANNELS, AXIS) + of_channels(t, 0, first, channels, wide, CHANNELS, AXIS)
        if s is None:
            v *= gate
        else:
            v *= of_channels(s, image * channels, first, channels, wide, CHANNELS, AXIS) + gate
        if r is not None:
            other = values(r, at, offsets, inside, wide)
            if rk is not None:
                other *= of_channels(rk, 0, first, channels, wide, CHANNELS, AXIS)
            v += other
        if rt is not None:
            v += of_channels(rt, 0, first, channels, wide, CHANNELS, AXIS)
        store_rectified(
            y, v, mask, row, image, start, first, channels, positions, at, offsets, inside, CHANNELS, POSITIONS, AXIS, RELU
        )  # fmt: skip


@triton.jit
def reduce_positions(
    dy, relu_mask, row, x, mu, k, t, gates, r, r_mu, g_out, dq, sums, images, channels, positions, c_stride, s_stride, spans, length,
    CHANNELS: tl.constexpr, POSITIONS: tl.constexpr, AXIS: tl.constexpr, WHOLE: tl.constexpr,
):  # fmt: skip
    """Store dq = ss (1 - ss) sum_c g (k x + t) of each position, (N, S), sums over each span of positions, and g as it is met.

    The sums, (5 or 6, N, spans, C), are those of g, g d, g ss, g ss d, dq d with d = x - mu, and unless r is None g (r - r_mu). A span is
    one tile unless that has all channels.
    """
    wide: tl.constexpr = sums.dtype.element_ty
    last = CHANNELS if WHOLE else channels
    image, span = (tl.program_id(0) // spans).to(tl.int64), tl.program_id(0) % spans
    start = span * length
    stop = tl.minimum(start + length, positions)
    size = tl.cast(channels, tl.int64) * positions
    offsets = offsets_in(c_stride, s_stride, CHANNELS, POSITIONS, AXIS)
    to = (image * spans + span) * channels
    stride = tl.cast(images, tl.int64) * spans * channels

    total = tl.zeros(offsets.shape, wide)
    by_x = tl.zeros(offsets.shape, wide)
    gated = tl.zeros(offsets.shape, wide)
    gated_by_x = tl.zeros(offsets.shape, wide)
    by_dq = tl.zeros(offsets.shape, wide)
    by_r = tl.zeros(offsets.shape, wide)
    for s in range(start, stop, POSITIONS):
        g = tl.zeros(offsets.shape, wide)
        tile = tl.zeros(offsets.shape, wide)
        by_u = tl.zeros(offsets.shape, wide)
        for first in range(0, last, CHANNELS):
            inside = existing(s, stop, first, channels, CHANNELS, POSITIONS, AXIS)
            at = place(image, s, first, size, c_stride, s_stride)
            g = gradient(
                dy, relu_mask, row, image, s, stop, first, channels, positions, at, offsets, inside, wide, CHANNELS, POSITIONS, AXIS
            )  # fmt: skip
            tile = values(x, at, offsets, inside, wide)
            u = tile * of_channels(k, 0, first, channels, wide, CHANNELS, AXIS) + of_channels(t, 0, first, channels, wide, CHANNELS, AXIS)
            by_u += g * u
            if g_out is not None:
                tl.store(g_out + at + offsets, g, mask=inside)
        gate = of_positions(gates, image * positions, s, stop, wide, POSITIONS, AXIS)
        slope = tl.expand_dims(tl.sum(by_u, axis=1 - AXIS), 1 - AXIS) * gate * (1 - gate)
        p = tl.expand_dims(s + tl.arange(0, POSITIONS), 1 - AXIS)
        tl.store(dq + image * positions + p, slope, mask=p < stop)

        for first in range(0, last, CHANNELS):
            inside = existing(s, stop, first, channels, CHANNELS, POSITIONS, AXIS)
            at = place(image, s, first, size, c_stride, s_stride)
            if not WHOLE:
                g = gradient(
                    dy, relu_mask, row, image, s, stop, first, channels, positions, at, offsets, inside, wide, CHANNELS, POSITIONS, AXIS
                )  # fmt: skip
                tile = values(x, at, offsets, inside, wide)
            d = tile - of_channels(mu, 0, first, channels, wide, CHANNELS, AXIS)
            total += g
            by_x += g * d
            gated += g * gate
            gated_by_x += g * gate * d
            by_dq += slope * d
            if r is not None:
                by_r += g * (values(r, at, offsets, inside, wide) - of_channels(r_mu, 0, first, channels, wide, CHANNELS, AXIS))
            if not WHOLE:
                _store_sums(sums, to, stride, first, channels, total, by_x, gated, gated_by_x, by_dq, by_r, r, CHANNELS, AXIS)
                total = tl.zeros(offsets.shape, wide)
                by_x = tl.zeros(offsets.shape, wide)
                gated = tl.zeros(offsets.shape, wide)
                gated_by_x = tl.zeros(offsets.shape, wide)
                by_dq = tl.zeros(offsets.shape, wide)
                by_r = tl.zeros(offsets.shape, wide)
    if WHOLE:
        _store_sums(sums, to, stride, 0, channels, total, by_x, gated, gated_by_x, by_dq, by_r, r, CHANNELS, AXIS)


@triton.jit
def _store_sums(
    sums, to, stride, first, channels, total, by_x, gated, gated_by_x, by_dq, by_r, r, CHANNELS: tl.constexpr, AXIS: tl.constexpr
):  # fmt: skip
    """Store the sums of tiles over their positions."""
    c = first + tl.arange(0, CHANNELS)
    tl.store(sums + to + c, tl.sum(total, axis=AXIS), mask=c < channels)
    tl.store(sums + stride + to + c, tl.sum(by_x, axis=AXIS), mask=c < channels)
    tl.store(sums + 2 * stride + to + c, tl.sum(gated, axis=AXIS), mask=c < channels)
    tl.store(sums + 3 * stride + to + c, tl.sum(gated_by_x, axis=AXIS), mask=c < channels)
    tl.store(sums + 4 * stride + to + c, tl.sum(by_dq, axis=AXIS), mask=c < channels)
    if r is not None:
        tl.store(sums + 5 * stride + to + c, tl.sum(by_r, axis=AXIS), mask=c < channels)


@triton.jit
def spread_positions(
    dy, relu_mask, row, x, ka, kb, kc, ks, kw, gates, dq, out, channels, positions, c_stride, s_stride, tiles,
    CHANNELS: tl.constexpr, POSITIONS: tl.constexpr, AXIS: tl.constexpr,
):  # fmt: skip
    """Store (ka + ks ss) g + kw dq + kb x + kc, kb None = 0; ka and kc are (N, C), ks, kw and kb (C,), ss and dq (N, S)."""
    wide: tl.constexpr = ka.dtype.element_ty
    image, tile, first = split(tl.num_programs(0) - 1 - tl.program_id(0), tiles, channels, CHANNELS)
    start = tile * POSITIONS
    inside = existing(start, positions, first, channels, CHANNELS, POSITIONS, AXIS)
    at = place(image, start, first, tl.cast(channels, tl.int64) * positions, c_stride, s_stride)
    offsets = offsets_in(c_stride, s_stride, CHANNELS, POSITIONS, AXIS)
    gate = of_positions(gates, image * positions, start, positions, wide, POSITIONS, AXIS)
    slope = of_positions(dq, image * positions, start, positions, wide, POSITIONS, AXIS)

    v = gradient(
        dy, relu_mask, row, image, start, positions, first, channels, positions, at, offsets, inside, wide, CHANNELS, POSITIONS, AXIS
    )  # fmt: skip
    by_gate = of_channels(ks, 0, first, channels, wide, CHANNELS, AXIS) * gate
    v *= of_channels(ka, image * channels, first, channels, wide, CHANNELS, AXIS) + by_gate
    v += of_channels(kw, 0, first, channels, wide, CHANNELS, AXIS) * slope
    v += of_channels(kc, image * channels, first, channels, wide, CHANNELS, AXIS)
    if kb is not None:
        v += of_channels(kb, 0, first, channels, wide, CHANNELS, AXIS) * values(x, at, offsets, inside, wide)
    tl.store(out + at + offsets, v, mask=inside)
