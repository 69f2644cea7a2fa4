"""A tail that gates channels, or nothing, with all its steps as kernels: few launches, and none of torch's small operations between them.

| | launches | kernels |
|---|---|---|
| forward, SE | 4 | `moments` of x and a projected r, `statistics` with the first FC, `gate` with the second, `affine` |
| forward, plain | 3 | without `gate` |
| backward, SE | 5 | `reduce`, `gate_gradient`, `squeeze_gradient`, `norm_gradient`, `affine` or, for a projected r, `spread_both` |
| backward, plain | 3 | `reduce`, `plain_gradient`, the last one |

The mathematics is that of `senet.ops.tail.channel`, with names as there.
"""

from typing import Any

import torch
from torch import Tensor

from senet.ops.passes.maps import precision
from senet.ops.passes.terms import Centred, OutputGradient
from senet.ops.passes.triton import gate as gate_code, gradients, kernels
from senet.ops.passes.triton.grid import Grid, Tiling, grid_of
from senet.ops.passes.triton.launch import dense, launch
from senet.ops.passes.triton.maps import launch_affine, moments_of_spans, sums_of_spans
from senet.ops.passes.triton.mask import empty_mask, in_one_format, row
from senet.ops.passes.triton.statistics import statistics
from senet.ops.passes.triton.vector_grid import UNSTAGED, WARPS, VectorGrid, is_taken, vector_grid
from senet.ops.tail.batchnorm import IDENTITY, BatchNorm, Normalization, Statistics
from senet.ops.tail.channel import ChannelTail
from senet.ops.tail.gates import Excitation, Excited
from senet.ops.tail.rows import Gradients, Output, Saved, TailTensors
from senet.ops.tail.shortcut import is_passed_on, projected


def has_kernels(tail: ChannelTail, x: Tensor) -> bool:
    """Return whether the kernels compute this tail of maps like x: not for a batch of several processes, nor for very wide layers."""
    norm, shortcut = tail.norm or IDENTITY, tail.shortcut_norm or IDENTITY
    alone = norm.group is None and shortcut.group is None
    return alone and is_taken(len(x), x.shape[1], 0 if tail.gate is None else len(tail.gate.w1))


class Normalized:
    """Results of a normalisation in `statistics`, unset, and its arguments there.

    Args:
        norm: the normalisation.
        like: a map (N, C, H, W) of the branch.
    """

    def __init__(self, norm: BatchNorm, like: Tensor) -> None:
        self.mean, self.inverse_std, self.scale, self.shift = (_vector(like) for _ in range(4))
        averages = norm.averages if norm.use_batch else None
        self.var = _vector(like) if norm.use_batch and averages is None else None
        running = norm.running_mean, norm.running_var
        batches, momentum = None, 0.0
        if averages is not None:
            batches, momentum = averages.batches, averages.momentum
            moved = (v for v in (*running, batches) if v is not None)
            torch.autograd.graph.increment_version(moved)  # kernels write where torch does not see it
        own = self.mean, self.inverse_std, self.scale, self.shift, self.var
        self.arguments: tuple[Any, ...] = (*own, *dense(norm.gamma, norm.beta, *running), batches, momentum)

    def normalization(self) -> Normalization:
        """Return what the normalisation does."""
        return Normalization(self.mean, self.inverse_std, self.scale)

    def statistics(self) -> Statistics | None:
        """Return those of the batch, for the running averages; None if there are none, or they are in the averages."""
        return None if self.var is None else Statistics(self.mean, self.var)


def tail_forward(tail: ChannelTail, x: Tensor, r: Tensor | None, tiling: Tiling) -> Output:
    """Compute `ChannelTail.forward`."""
    _, x, r = in_one_format(None, x, r)
    norm, gate, of_shortcut = tail.norm or IDENTITY, tail.gate, tail.shortcut_norm if r is not None else None
    n, c = x.shape[:2]
    grid = grid_of(Grid, x, tiling, summed=True)
    spans, length = grid.spans
    sizes = vector_grid(n, c, spans, 0 if gate is None else len(gate.w1))

    (mean, m2), (r_mean, r_m2) = _moments(grid, x, norm, gate is not None, r, of_shortcut)
    if mean is None:
        means, merged = x.new_zeros(n, c, dtype=precision(x)), None
    elif spans == 1:
        means, merged = mean.view(n, c), None
    else:
        means = merged = _matrix(x, c)
    branch, shortcut = Normalized(norm, x), None if of_shortcut is None else Normalized(of_shortcut, x)
    of_r = (None,) * 10 + (0.0,) if shortcut is None else shortcut.arguments
    w1, squeeze, partial, width = None, None, None, 0
    if gate is not None:
        (w1,), width = dense(gate.w1), len(gate.w1)
        squeeze, partial = _matrix(x, c), _partial(x, sizes, width)
    launch(
        statistics, sizes.blocks * (sizes.tiles + (shortcut is not None)), *branch.arguments, mean, m2, merged, *of_r, r_mean, r_m2,
        w1, squeeze, partial, n, c, grid.positions, spans, length, width, sizes.tiles,
        EPS=norm.eps, R_EPS=0.0 if of_shortcut is None else of_shortcut.eps, BLOCK=sizes.block, IMAGES=sizes.images, SPANS=sizes.spans,
        ROWS=sizes.rows, HIDDEN=sizes.hidden, num_warps=WARPS,
    )  # fmt: skip

    excited, coefficients = None, (branch.scale, branch.shift, 0)
    if gate is not None and squeeze is not None:
        excited, coefficients = _excited(gate, squeeze, partial, branch, sizes)
    y, mask = torch.empty_like(x), empty_mask(x) if tail.relu else None
    added = (r, None, None) if shortcut is None else (r, shortcut.scale, shortcut.shift)
    launch_affine(tiling, (x, None, row(mask), *coefficients, *added, y, mask), tail.relu)
    kept, r_normalization = (None, None) if shortcut is None else (r, shortcut.normalization())
    saved = Saved(x, kept, mask, means, branch.normalization(), r_normalization, excited, None, r is not None)
    return Output(y, saved, branch.statistics(), None if shortcut is None else shortcut.statistics())


def _moments(grid: Grid, x: Tensor, norm: BatchNorm, squeezed: bool, r: Tensor | None, of_shortcut: BatchNorm | None) -> tuple[Any, Any]:
    """Return the moments of branch and shortcut over spans, as far as they are needed; None for the rest."""
    nothing = None, None
    r = r if of_shortcut is not None and of_shortcut.use_batch else None
    if norm.use_batch or squeezed:
        found, of_r = moments_of_spans(grid, x, norm.use_batch, r, r is not None)
        return found, of_r or nothing
    return nothing, nothing if r is None else moments_of_spans(grid, r, True)[0]


def _excited(gate: Excitation, squeeze: Tensor, partial: Any, branch: Normalized, sizes: VectorGrid) -> tuple[Excited, Any]:
    """Return the gates, and the coefficients with which they apply to x."""
    n, c = squeeze.shape
    width = len(gate.w1)
    hidden, gates, ka, kc = squeeze.new_empty(n, width), *(torch.empty_like(squeeze) for _ in range(3))
    given = (partial, *dense(gate.b1, gate.w2, gate.b2), branch.scale, branch.shift, hidden, gates, ka, kc)
    launch(
        gate_code.gate, sizes.programs, *given, n, c, width, sizes.blocks, GAIN=float(gate.gain), GATE=gate.name, ROWS=sizes.block_images,
        COLUMNS=sizes.columns, HIDDEN=sizes.summed, PARTS=sizes.all_blocks, num_warps=WARPS, num_stages=UNSTAGED,
    )  # fmt: skip
    return Excited(squeeze, hidden, gates), (ka, kc, c)


def tail_backward(tail: ChannelTail, dy: Tensor, saved: Saved, tiling: Tiling) -> Gradients:
    """Compute `ChannelTail.backward`."""
    mask, x, dy, r = in_one_format(saved.relu_mask, saved.x, dy, saved.shortcut)
    of_shortcut = projected(saved)
    found, r_found = saved.normalization, saved.shortcut_normalization
    centred = Centred(x, found.mean)
    sums, g = sums_of_spans(OutputGradient(dy, mask), centred, of_shortcut, is_passed_on(saved), tiling)
    norm = NormGradient(tail.norm or IDENTITY, found, x)
    shortcut = None if r_found is None else NormGradient(tail.shortcut_norm or IDENTITY, r_found, x)
    if tail.gate is None or saved.excited is None:
        weights, coefficients = {}, (found.scale, None, 0)
        _plain_gradient(sums, norm, shortcut, x)
    else:
        weights, coefficients = _gate_gradients(tail.gate, saved, sums, norm, shortcut, x)

    dr = g if g is not None else dy if saved.has_shortcut else None
    if g is not None:
        dy, mask = g, None
    dx = torch.empty_like(x)
    if shortcut is None:
        launch_affine(
            tiling, (dy, mask, row(mask), *coefficients, x if norm.by_x is not None else None, norm.by_x, norm.constant, dx, None), False
        )
    else:
        dr, over = torch.empty_like(x), grid_of(Grid, x, tiling, summed=False)
        of_x, of_r = (norm.by_x, norm.constant), (shortcut.found.scale, shortcut.by_x, shortcut.constant)
        given = (dy, mask, row(mask), x, *coefficients, *of_x, r, *of_r, dx, dr)
        launch(kernels.spread_both, over.blocks * over.tiles, *given, *over.sizes, over.tiles, **over.tile)
    of_r = (None, None) if shortcut is None else (shortcut.dgamma, shortcut.dbeta)
    return Gradients(dx, dr, TailTensors(norm.dgamma, norm.dbeta, shortcut_gamma=of_r[0], shortcut_beta=of_r[1], **weights))


class NormGradient:
    """Gradients of a normalisation, unset, and its arguments in the kernels that compute them.

    Args:
        norm: the normalisation.
        found: what it did.
        like: a map (N, C, H, W) of the branch.
    """

    def __init__(self, norm: BatchNorm, found: Normalization, like: Tensor) -> None:
        self.norm, self.found = norm, found
        self.dgamma, self.dbeta = _gradient(norm.gamma), _gradient(norm.beta)
        self.by_x, self.constant = (_vector(like), _vector(like)) if norm.use_batch else (None, None)
        own = self.dgamma, self.dbeta, self.by_x, self.constant
        self.arguments: tuple[Any, ...] = (*dense(found.mean, found.inverse_std, found.scale), *own)


def _plain_gradient(sums: Tensor, norm: NormGradient, shortcut: NormGradient | None, x: Tensor) -> None:
    n, c = x.shape[:2]
    spans, positions = sums.shape[2], x.shape[2] * x.shape[3]
    sizes = vector_grid(n, c, spans, 0)
    of_r = (None,) * 7 if shortcut is None else shortcut.arguments
    launch(
        gradients.plain_gradient, sizes.blocks * (1 + (shortcut is not None)), sums, *norm.arguments, *of_r, n, c, positions, spans,
        BLOCK=sizes.block, PARTS=sizes.parts, num_warps=WARPS,
    )  # fmt: skip


def _gate_gradients(
    gate: Excitation, saved: Saved, sums: Tensor, norm: NormGradient, shortcut: NormGradient | None, x: Tensor
) -> tuple[dict[str, Tensor | None], tuple[Any, ...]]:
    """Return the gradients of both FCs by their names, and the coefficients by_g and constant of x's."""
    excited, found = saved.excited, norm.found
    assert excited is not None
    n, c = x.shape[:2]
    spans, positions, width = sums.shape[2], x.shape[2] * x.shape[3], len(gate.w1)
    sizes, (w1, w2) = vector_grid(n, c, spans, width), dense(gate.w1, gate.w2)
    means, squeeze, hidden, gates = dense(saved.means, excited.squeeze, excited.hidden, excited.gates)
    weights = {"w1": _gradient(w1), "b1": _gradient(gate.b1), "w2": _gradient(w2), "b2": _gradient(gate.b2)}
    through, ka, kc = (torch.empty_like(squeeze) for _ in range(3))
    dhidden, partial, totals = torch.empty_like(hidden), _partial(x, sizes, width), squeeze.new_empty(2, c)
    of_r = (None,) * 7 if shortcut is None else shortcut.arguments
    of_gate = {"GAIN": float(gate.gain), "GATE": gate.name}
    programs = sizes.blocks * sizes.tiles
    launch(
        gradients.gate_gradient, programs + sizes.blocks * (shortcut is not None), sums, gates, *dense(norm.norm.gamma, norm.norm.beta),
        found.inverse_std, hidden, w2, through, weights["w2"], weights["b2"], totals, partial, *of_r,
        n, c, positions, spans, width, sizes.tiles, **of_gate, BLOCK=sizes.block, IMAGES=sizes.images, SPANS=sizes.spans, ROWS=sizes.rows,
        HIDDEN=sizes.hidden, PARTS=sizes.parts, num_warps=WARPS,
    )  # fmt: skip
    # The gradient of the logits has served: that of the squeeze takes its place.
    launch(
        gate_code.squeeze_gradient, sizes.programs, partial, hidden, w1, gates, found.scale, dhidden, through, ka, kc,
        n, c, positions, width, sizes.blocks, GAIN=of_gate["GAIN"], ROWS=sizes.block_images, COLUMNS=sizes.columns, HIDDEN=sizes.summed,
        PARTS=sizes.all_blocks, num_warps=WARPS, num_stages=UNSTAGED,
    )  # fmt: skip
    launch(
        gradients.norm_gradient, programs, through, means, squeeze, dhidden, totals, found.mean, found.inverse_std, found.scale,
        weights["w1"], weights["b1"], *norm.arguments[3:], n, c, positions, width, BLOCK=sizes.block, ROWS=sizes.rows, HIDDEN=sizes.hidden,
        num_warps=WARPS,
    )  # fmt: skip
    return weights, (ka, kc, c)


def _vector(like: Tensor) -> Tensor:
    """Return an unset (C,) for a map."""
    return torch.empty(like.shape[1], dtype=precision(like), device=like.device)


def _matrix(like: Tensor, columns: int) -> Tensor:
    """Return an unset (N, columns) for a map."""
    return torch.empty(len(like), columns, dtype=precision(like), device=like.device)


def _partial(like: Tensor, sizes: VectorGrid, width: int) -> Tensor:
    """Return what each block of channels is to add to the hidden layer, unset."""
    return torch.empty(sizes.blocks, len(like), width, dtype=precision(like), device=like.device)


def _gradient(of: Tensor | None) -> Tensor | None:
    """Return an unset gradient, dense and of its parameter's type."""
    return None if of is None else torch.empty_like(of, memory_format=torch.contiguous_format)
