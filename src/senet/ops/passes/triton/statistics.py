"""Device code of what lies between the read of a map and its gates: statistics over the images, and the first FC, a block of channels each.

What `moments` stored for each span of positions is put together here, so a reduction that is split costs no launch of its own. Sums over
images are exact in two levels (Chan, Golub, LeVeque, 1983). FCs multiply in float32 as IEEE has it, not in TF32 of which three products
lose bits in long sums: gradients of parameters keep the precision of their sums.
"""

# ruff: noqa: N803
# pyright: reportArgumentType=false, reportIndexIssue=false, reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

import triton
import triton.language as tl

from senet.ops.passes.triton.vectors import loaded, matrix_at, parts_at, where_first

# Pointers, by the names of the arguments; N images, C channels, R hidden units, spans of `length` positions each.
#   parts (N, spans, C): mean and m2, what `moments` stored; m2 None = the running statistics are used
#   (N, C): means of whole maps, None where `mean` is that; squeeze, scale means + shift
#   (C,): gamma, beta (None = 1, 0), running_mean, running_var (None = 0, 1), mu, inverse_std, scale, shift, var (unbiased; None = unasked)
#   (): batches, how many the running averages have seen; None = they stay as they are
#   (R, C): w1;  (blocks of channels, N, R): partial
#   with r_: those of a projected shortcut


@triton.jit
def with_more(mean, squares, seen, more_mean, more_squares, more):
    """Return mean, centred sum of squares and count of two sets of values together."""
    share = more / (seen + more)
    delta = more_mean - mean
    return mean + delta * share, squares + more_squares + delta * delta * seen * share, seen + more


@triton.jit
def over_images(
    mean, m2, means, c, images, channels, positions, spans, length,
    WIDE: tl.constexpr, BLOCK: tl.constexpr, IMAGES: tl.constexpr, SPANS: tl.constexpr,
):  # fmt: skip
    """Return mean and centred sum of squares of channels over all images, and store the means of whole maps unless `means` is None."""
    span = tl.arange(0, SPANS)
    counts = tl.where(span < spans, tl.minimum(positions - span * length, length), 0).to(WIDE)[None, :, None]
    size = tl.cast(positions, WIDE)
    of_all, squares, seen = tl.zeros((BLOCK,), WIDE), tl.zeros((BLOCK,), WIDE), tl.zeros((BLOCK,), WIDE)
    for first in range(0, images, IMAGES):
        n = first + tl.arange(0, IMAGES)
        at, inside = parts_at(n, c, images, channels, spans, SPANS)
        here = tl.cast(tl.minimum(images - first, IMAGES), WIDE)
        part = tl.load(mean + at, mask=inside, other=0.0)
        near = tl.sum(tl.sum(part * counts, axis=1), axis=0) / (here * size)
        d = tl.where(inside, part - near[None, None, :], 0.0)
        further = tl.sum(d * counts, axis=1) / size
        if means is not None:
            to, there = matrix_at(n, c, images, channels)
            tl.store(means + to, near[None, :] + further, mask=there)
        if m2 is not None:
            beside = tl.sum(further, axis=0) / here
            around = tl.sum(tl.sum(tl.load(m2 + at, mask=inside, other=0.0) + d * d * counts, axis=1), axis=0)
            around -= beside * beside * (here * size)
            of_all, squares, seen = with_more(of_all, squares, seen, near + beside, around, here * size)
    return of_all, squares


@triton.jit
def store_normalization(
    mean, squares, count, gamma, beta, running_mean, running_var, batches, momentum, mu, inverse_std, scale, shift, var,
    c, channels, tile, block, WIDE: tl.constexpr, BATCH: tl.constexpr, EPS: tl.constexpr,
):  # fmt: skip
    """Store what a normalisation does to channels, which the first tile does, and return its scale and shift.

    With BATCH, mean and squares are those of `count` values, and the running averages move to them unless `batches` is None, which the
    first block counts; else the running statistics are taken.
    """
    there, stored = c < channels, where_first(tile, c, channels)
    if BATCH:
        variance = squares / count
        if batches is not None:
            old_mean, old_var = loaded(running_mean, c, there, 0.0, WIDE), loaded(running_var, c, there, 0.0, WIDE)
            tl.store(running_mean + c, old_mean + momentum * (mean - old_mean), mask=stored)
            tl.store(running_var + c, old_var + momentum * (squares / (count - 1) - old_var), mask=stored)
            if (tile == 0) & (block == 0):
                tl.store(batches, tl.load(batches) + 1)
        if var is not None:
            tl.store(var + c, squares / (count - 1), mask=stored)
    else:
        mean = loaded(running_mean, c, there, 0.0, WIDE)
        variance = loaded(running_var, c, there, 1.0, WIDE)
    inverse = tl.rsqrt(variance + EPS)
    k = inverse * loaded(gamma, c, there, 1.0, WIDE)
    t = loaded(beta, c, there, 0.0, WIDE) - mean * k
    tl.store(mu + c, mean, mask=stored)
    tl.store(inverse_std + c, inverse, mask=stored)
    tl.store(scale + c, k, mask=stored)
    tl.store(shift + c, t, mask=stored)
    return k, t


@triton.jit
def share_hidden(
    p, k, t, w1, squeeze, partial, tile, block, c, r, images, channels, width, ROWS: tl.constexpr, WIDE: tl.constexpr
):  # fmt: skip
    """Store z = k p + t, once, and what a block of channels adds to a tile of hidden units; p and z are (N, C), k and t the block's."""
    at_w, inside_w = matrix_at(r, c, width, channels)
    w = tl.trans(tl.load(w1 + at_w, mask=inside_w, other=0.0).to(WIDE))
    for first in range(0, images, ROWS):
        n = first + tl.arange(0, ROWS)
        at, inside = matrix_at(n, c, images, channels)
        z = tl.where(inside, tl.load(p + at, mask=inside, other=0.0) * k[None, :] + t[None, :], 0.0)
        tl.store(squeeze + at, z, mask=inside & where_first(tile, c, channels)[None, :])
        to, there = matrix_at(n, r, images, width)
        h = tl.dot(z, w, input_precision="ieee", out_dtype=WIDE)
        tl.store(partial + block * images * width + to, h, mask=there)


@triton.jit
def statistics(
    mu, inverse_std, scale, shift, var, gamma, beta, running_mean, running_var, batches, momentum, mean, m2, means,
    r_mu, r_inverse_std, r_scale, r_shift, r_var, r_gamma, r_beta, r_running_mean, r_running_var, r_batches, r_momentum, r_mean, r_m2,
    w1, squeeze, partial, images, channels, positions, spans, length, width, tiles, EPS: tl.constexpr, R_EPS: tl.constexpr,
    BLOCK: tl.constexpr, IMAGES: tl.constexpr, SPANS: tl.constexpr, ROWS: tl.constexpr, HIDDEN: tl.constexpr,
):  # fmt: skip
    """Store the normalisations of branch and shortcut and, unless w1 is None, the squeeze and what each block adds to the hidden layer.

    Programs: the blocks of channels for each of `tiles` tiles of hidden units, at least one; and again for the shortcut. Those of several
    tiles compute the same statistics, and the first stores them.
    """
    wide: tl.constexpr = mu.dtype.element_ty
    blocks = tl.cdiv(channels, BLOCK)
    tile, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    c = block * BLOCK + tl.arange(0, BLOCK)
    count = tl.cast(images, wide) * tl.cast(positions, wide)
    of_all, squares = tl.zeros((BLOCK,), wide), tl.zeros((BLOCK,), wide)
    if tile < tiles:
        if m2 is not None or means is not None:
            of_all, squares = over_images(mean, m2, means, c, images, channels, positions, spans, length, wide, BLOCK, IMAGES, SPANS)
        k, t = store_normalization(
            of_all, squares, count, gamma, beta, running_mean, running_var, batches, momentum, mu, inverse_std, scale, shift, var,
            c, channels, tile, block, wide, m2 is not None, EPS,
        )  # fmt: skip
        if w1 is not None:
            p = mean
            if means is not None:
                p = means
                tl.debug_barrier()  # the means of other threads are there
            r = tile * HIDDEN + tl.arange(0, HIDDEN)
            share_hidden(p, k, t, w1, squeeze, partial, tile, block, c, r, images, channels, width, ROWS, wide)
    elif r_mu is not None:
        if r_m2 is not None:
            of_all, squares = over_images(r_mean, r_m2, None, c, images, channels, positions, spans, length, wide, BLOCK, IMAGES, SPANS)
        store_normalization(
            of_all, squares, count, r_gamma, r_beta, r_running_mean, r_running_var, r_batches, r_momentum,
            r_mu, r_inverse_std, r_scale, r_shift, r_var, c, channels, 0, block, wide, r_m2 is not None, R_EPS,
        )  # fmt: skip
