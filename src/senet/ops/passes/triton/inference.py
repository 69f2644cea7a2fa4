"""The device code of a unit in inference: two kernels, each in the place of what a compiler would put behind a convolution anyway.

A unit ends in conv -> f -> conv -> (block, + shortcut, f). The first kernel, behind the first convolution, activates the map and sums it
on the way; its programs send their sums through their channels of the block's first layer, into which the second convolution is folded.
The second kernel, behind the second convolution, adds up what they found, applies the rest of the block, and ends the unit.
"""

# ruff: noqa: N803
# pyright: reportArgumentType=false, reportIndexIssue=false, reportOptionalMemberAccess=false, reportAttributeAccessIssue=false
# pyright: reportAssignmentType=false, reportOperatorIssue=false, reportPossiblyUnboundVariable=false

import triton
import triton.language as tl

from senet.ops.passes.triton.gate import gate_of
from senet.ops.passes.triton.tiles import existing, of_channels, offsets_in, place, split, values

# Pointers, by the names of the arguments; C channels, S positions, R hidden units, P parts of an image:
#   maps (N, C, S) in either format: c (what a convolution without its bias made), r (the shortcut), out (may be c)
#   vectors (C,): bias, r_bias, b2;  (R,): b1;  matrices: w1 (R, C), w2 (C, R)
#   parts (N, P, R): what the channels and positions of one program add to the hidden units


@triton.jit
def activate_squeeze(
    c, bias, w1, out, parts, images, together, channels, hidden, positions, c_stride, s_stride, spans, length,
    CHANNELS: tl.constexpr, POSITIONS: tl.constexpr, AXIS: tl.constexpr, HIDDEN: tl.constexpr, RELU: tl.constexpr,
):  # fmt: skip
    """Store x = f(c + bias), unless `out` is None, and W1 mean(x) of each block of channels and span of positions.

    1. A program has one block and one span of `together` images, so that it reads its columns of W1 from the nearest cache.
    2. Sums are of what is stored, in its type. 3. Spans that are empty store zeros.
    """
    wide: tl.constexpr = parts.dtype.element_ty
    group, span, first = split(tl.program_id(0), spans, channels, CHANNELS)
    start = span * length
    stop = tl.minimum(start + length, positions)
    size = tl.cast(channels, tl.int64) * positions
    offsets = offsets_in(c_stride, s_stride, CHANNELS, POSITIONS, AXIS)
    pieces = tl.cdiv(channels, CHANNELS) * spans
    piece = tl.program_id(0) % pieces
    channel = first + tl.arange(0, CHANNELS)
    for image in range(group * together, tl.minimum(group * together + together, images)):
        total = tl.zeros(offsets.shape, wide)
        for s in range(start, stop, POSITIONS):
            inside = existing(s, stop, first, channels, CHANNELS, POSITIONS, AXIS)
            at = place(image, s, first, size, c_stride, s_stride)
            v = values(c, at, offsets, inside, wide)
            if bias is not None:
                v += of_channels(bias, 0, first, channels, wide, CHANNELS, AXIS)
            if RELU:
                v = tl.where(v <= 0, 0.0, v)
            v = v.to(c.dtype.element_ty)
            if out is not None:
                tl.store(out + at + offsets, v, mask=inside)
            total += tl.where(inside, v.to(wide), 0.0)
        mean = tl.sum(total, axis=AXIS) / positions
        for unit in range(0, hidden, HIDDEN):
            h = unit + tl.arange(0, HIDDEN)
            there = (h < hidden)[:, None] & (channel < channels)[None, :]
            weight = tl.load(w1 + h[:, None] * channels + channel[None, :], mask=there, other=0.0).to(wide)
            tl.store(parts + (image * pieces + piece) * hidden + h, tl.sum(weight * mean[None, :], axis=1), mask=h < hidden)


@triton.jit
def excite_join(
    c, bias, parts, b1, w2, b2, r, r_bias, out, images, together, channels, hidden, pieces, positions, c_stride, s_stride, spans, length,
    CHANNELS: tl.constexpr, POSITIONS: tl.constexpr, AXIS: tl.constexpr, HIDDEN: tl.constexpr, PIECES: tl.constexpr,
    GATE: tl.constexpr, GAIN: tl.constexpr, RELU: tl.constexpr,
):  # fmt: skip
    """Store f(s (c + bias) + r + r_bias) with s = gain gate(W2 relu(sum of parts + b1) + b2); parts None: s = 1.

    1. A program has one block of channels and one span of `together` images, so that it reads its rows of W2 from the nearest cache.
    2. Its gates are a vector over channels, made from parts in their order; then it walks over its positions.
    """
    wide: tl.constexpr = tl.float64 if c.dtype.element_ty == tl.float64 else tl.float32
    group, span, first = split(tl.program_id(0), spans, channels, CHANNELS)
    start = span * length
    stop = tl.minimum(start + length, positions)
    size = tl.cast(channels, tl.int64) * positions
    offsets = offsets_in(c_stride, s_stride, CHANNELS, POSITIONS, AXIS)
    channel = first + tl.arange(0, CHANNELS)
    for image in range(group * together, tl.minimum(group * together + together, images)):
        if parts is not None:
            z = tl.zeros((CHANNELS,), wide)
            piece = tl.arange(0, PIECES)
            for unit in range(0, hidden, HIDDEN):
                h = unit + tl.arange(0, HIDDEN)
                there = (piece < pieces)[:, None] & (h < hidden)[None, :]
                found = tl.load(parts + (image * pieces + piece)[:, None] * hidden + h[None, :], mask=there, other=0.0)
                units = tl.sum(found, axis=0)
                if b1 is not None:
                    units += tl.load(b1 + h, mask=h < hidden, other=0.0).to(wide)
                units = tl.where(units <= 0, 0.0, units)
                there = (channel < channels)[:, None] & (h < hidden)[None, :]
                weight = tl.load(w2 + channel[:, None] * hidden + h[None, :], mask=there, other=0.0).to(wide)
                z += tl.sum(weight * units[None, :], axis=1)
            if b2 is not None:
                z += tl.load(b2 + channel, mask=channel < channels, other=0.0).to(wide)
            gates = tl.expand_dims(gate_of(z, GATE) * GAIN, AXIS)
        for s in range(start, stop, POSITIONS):
            inside = existing(s, stop, first, channels, CHANNELS, POSITIONS, AXIS)
            at = place(image, s, first, size, c_stride, s_stride)
            v = values(c, at, offsets, inside, wide)
            if bias is not None:
                v += of_channels(bias, 0, first, channels, wide, CHANNELS, AXIS)
            if parts is not None:
                v *= gates
            if r is not None:
                v += values(r, at, offsets, inside, wide)
            if r_bias is not None:
                v += of_channels(r_bias, 0, first, channels, wide, CHANNELS, AXIS)
            if RELU:
                v = tl.where(v <= 0, 0.0, v)
            tl.store(out + at + offsets, v.to(out.dtype.element_ty), mask=inside)
