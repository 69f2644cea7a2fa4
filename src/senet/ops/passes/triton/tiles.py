"""What the kernels share, for both memory formats and all types: tiles of maps, gradients behind a ReLU, and masks of one bit an element.

A program works on tiles of `CHANNELS` x `POSITIONS` elements of one image. `AXIS` is the axis of a tile that runs over positions: 0 for
channels_last, 1 for contiguous maps, so that the last axis is always the one that is contiguous in memory. What does not exist is loaded as
0. Offsets of a tile are 64 bits wide, offsets in it 32.

A mask is itself a map, of bytes, eight times shorter along the contiguous axis and with `row` bytes along it; tiles cover whole bytes.
"""

# ruff: noqa: N803
# pyright: reportArgumentType=false, reportIndexIssue=false, reportOptionalMemberAccess=false, reportAttributeAccessIssue=false
# pyright: reportAssignmentType=false

import triton
import triton.language as tl


@triton.jit
def split(program, spans, channels, CHANNELS: tl.constexpr):
    """Return image (64 bits), span and first channel of a program; neighbours share their positions."""
    blocks = tl.cdiv(channels, CHANNELS)
    image = program // (blocks * spans)
    return image.to(tl.int64), program // blocks % spans, program % blocks * CHANNELS


@triton.jit
def existing(start, stop, first, channels, CHANNELS: tl.constexpr, POSITIONS: tl.constexpr, AXIS: tl.constexpr):
    """Return which elements of the tile at a first channel and position exist."""
    c, s = first + tl.arange(0, CHANNELS) < channels, start + tl.arange(0, POSITIONS) < stop
    return tl.expand_dims(c, AXIS) & tl.expand_dims(s, 1 - AXIS)


@triton.jit
def place(image, start, first, size, c_stride, s_stride):
    """Return where the first element of a tile lies, `size` being that of an image."""
    return image * size + tl.cast(first, tl.int64) * c_stride + tl.cast(start, tl.int64) * s_stride


@triton.jit
def offsets_in(c_stride, s_stride, CHANNELS: tl.constexpr, POSITIONS: tl.constexpr, AXIS: tl.constexpr):
    """Return where the elements of a tile lie after its first one."""
    c, s = tl.arange(0, CHANNELS) * c_stride, tl.arange(0, POSITIONS) * s_stride
    return tl.expand_dims(c, AXIS) + tl.expand_dims(s, 1 - AXIS)


@triton.jit
def values(x, at, offsets, inside, WIDE: tl.constexpr):
    """Load a tile of a map."""
    return tl.load(x + at + offsets, mask=inside, other=0.0).to(WIDE)


@triton.jit
def of_channels(v, at, first, channels, WIDE: tl.constexpr, CHANNELS: tl.constexpr, AXIS: tl.constexpr):
    """Load what a vector over channels, which begins at `at`, has for those of a tile."""
    c = first + tl.arange(0, CHANNELS)
    return tl.expand_dims(tl.load(v + at + c, mask=c < channels, other=0.0).to(WIDE), AXIS)


@triton.jit
def of_positions(v, at, start, stop, WIDE: tl.constexpr, POSITIONS: tl.constexpr, AXIS: tl.constexpr):
    """Load what a vector over positions, which begins at `at`, has for those of a tile."""
    s = start + tl.arange(0, POSITIONS)
    return tl.expand_dims(tl.load(v + at + s, mask=s < stop, other=0.0).to(WIDE), 1 - AXIS)


@triton.jit
def gradient(
    dy, relu_mask, row, image, start, stop, first, channels, positions, at, offsets, inside,
    WIDE: tl.constexpr, CHANNELS: tl.constexpr, POSITIONS: tl.constexpr, AXIS: tl.constexpr,
):  # fmt: skip
    """Load g: dy where the ReLU was open, else 0. `relu_mask` says where: a map by positive values, bits, None everywhere."""
    g = tl.load(dy + at + offsets, mask=inside, other=0.0)
    if relu_mask is not None:
        if relu_mask.dtype.element_ty == tl.uint8:
            to, there = _bytes(image, start, stop, first, channels, positions, row, CHANNELS, POSITIONS, AXIS)
            packed = tl.load(relu_mask + to, mask=there, other=0).to(tl.int32)
            opened = tl.reshape(packed[:, :, None] >> tl.arange(0, 8)[None, None, :] & 1, inside.shape) != 0
        else:
            opened = tl.load(relu_mask + at + offsets, mask=inside, other=0.0) > 0
        g = tl.where(opened, g, 0.0)
    return g.to(WIDE)


@triton.jit
def store_rectified(
    y, v, mask, row, image, start, first, channels, positions, at, offsets, inside,
    CHANNELS: tl.constexpr, POSITIONS: tl.constexpr, AXIS: tl.constexpr, RELU: tl.constexpr,
):  # fmt: skip
    """Store v, with RELU its positive part, and unless `mask` is None where what is stored is positive, first elements as lowest bits.

    A ReLU lets NaN pass, as torch's does, and no gradient there.
    """
    if RELU:
        v = tl.where(v <= 0, 0.0, v)
    stored = v.to(y.dtype.element_ty)
    tl.store(y + at + offsets, stored, mask=inside)
    if mask is not None:
        to, there = _bytes(image, start, positions, first, channels, positions, row, CHANNELS, POSITIONS, AXIS)
        opened = ((stored > 0) & inside).to(tl.int32)
        bits = tl.reshape(opened, (there.shape[0], there.shape[1], 8)) << tl.arange(0, 8)[None, None, :]
        tl.store(mask + to, tl.sum(bits, axis=2).to(tl.uint8), mask=there)


@triton.jit
def _bytes(
    image, start, stop, first, channels, positions, row, CHANNELS: tl.constexpr, POSITIONS: tl.constexpr, AXIS: tl.constexpr
):  # fmt: skip
    """Return where the bytes of a tile's mask lie, and which of them exist."""
    of_c: tl.constexpr = 8 if AXIS == 0 else 1
    of_s: tl.constexpr = 1 if AXIS == 0 else 8
    if AXIS == 0:
        rows, c_stride, s_stride = positions, 1, row
    else:
        rows, c_stride, s_stride = channels, row, 1
    first, start = first // of_c, start // of_s
    there = existing(start, tl.cdiv(stop, of_s), first, tl.cdiv(channels, of_c), CHANNELS // of_c, POSITIONS // of_s, AXIS)
    at = place(image, start, first, tl.cast(rows, tl.int64) * row, c_stride, s_stride)
    return at + offsets_in(c_stride, s_stride, CHANNELS // of_c, POSITIONS // of_s, AXIS), there
