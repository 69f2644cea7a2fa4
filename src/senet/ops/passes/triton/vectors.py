"""What the kernels of vectors share: loads of (C,), (N, C) and of the parts that the passes over maps leave, and sums of partial results.

A program has a block of channels or of images, and goes over the rest in a fixed order. What does not exist is loaded as 0.
Offsets are 32 bits wide: `vector_grid` says what is too large.
"""

# ruff: noqa: N803
# pyright: reportArgumentType=false, reportIndexIssue=false, reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

import triton
import triton.language as tl


@triton.jit
def loaded(v, at, there, DEFAULT: tl.constexpr, WIDE: tl.constexpr):
    """Load a block of a vector; None is a vector of DEFAULT."""
    if v is None:
        return tl.full(at.shape, DEFAULT, WIDE)
    else:
        return tl.load(v + at, mask=there, other=0.0).to(WIDE)


@triton.jit
def matrix_at(i, j, rows, columns):
    """Return where elements of a matrix (rows, columns) lie, and which of them exist."""
    return i[:, None] * columns + j[None, :], (i < rows)[:, None] & (j < columns)[None, :]


@triton.jit
def parts_at(n, c, images, channels, spans, SPANS: tl.constexpr):
    """Return where parts of (N, spans, C) lie, as a tile (images, SPANS, channels), and which of them exist."""
    span = tl.arange(0, SPANS)
    at = (n[:, None, None] * spans + span[None, :, None]) * channels + c[None, None, :]
    return at, (n < images)[:, None, None] & (span < spans)[None, :, None] & (c < channels)[None, None, :]


@triton.jit
def of_blocks(partial, n, r, images, width, blocks, BLOCKS: tl.constexpr):
    """Return the sum of what blocks of channels add to a hidden layer, (blocks, N, R), as a tile (images, hidden units)."""
    block = tl.arange(0, BLOCKS)
    at = (block[:, None, None] * images + n[None, :, None]) * width + r[None, None, :]
    inside = (block < blocks)[:, None, None] & (n < images)[None, :, None] & (r < width)[None, None, :]
    return tl.sum(tl.load(partial + at, mask=inside, other=0.0), axis=0)


@triton.jit
def where_first(which, i, size):
    """Return which of a block i exist to the program, or tile, that is the first of several with the same results: it stores them."""
    return i < tl.where(which == 0, size, 0)
