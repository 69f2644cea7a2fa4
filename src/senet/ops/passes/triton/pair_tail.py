"""A pre-activation tail with all its steps as kernels: few launches, and none of torch's small operations between them.

| | launches | kernels |
|---|---|---|
| forward, SE | 4 | `pair_moments`, `pair_gate` with both FCs, `pair_statistics`, `apply_pair` |
| forward, plain | 3 | `add_pair`, unless running statistics are used, `statistics`, `apply_pair` |
| backward, SE | 5 | `reduce_pair`, `pair_gate_gradient`, `squeeze_gradient`, `norm_gradient` for the first FC, `spread_pair` |
| backward, plain | 3 | `reduce_pair`, `plain_gradient`, `spread_pair` |

The mathematics is that of `senet.ops.tail.preactivated`, with names as there.
"""

from typing import Any

import torch
from torch import Tensor

from senet.ops.passes.terms import PairCoefficients
from senet.ops.passes.triton import gate as gate_code, gradients, pair_passes, pair_vectors
from senet.ops.passes.triton.channel_tail import Normalized, NormGradient
from senet.ops.passes.triton.grid import Grid, Tiling, cdiv, grid_of
from senet.ops.passes.triton.launch import dense, launch
from senet.ops.passes.triton.mask import in_one_format
from senet.ops.passes.triton.statistics import statistics
from senet.ops.passes.triton.vector_grid import UNSTAGED, WARPS, is_taken, vector_grid
from senet.ops.tail.gates import Excitation, Excited
from senet.ops.tail.preactivated import GatedBranch, PreactivatedOutput, PreactivatedSaved, PreactivatedTail
from senet.ops.tail.rows import Gradients, TailTensors

SQUEEZED = 2048
"""Partial means that a program of `pair_gate` has at a time, where its channels can be cut to so few."""
MOST_SPANS = 64
"""Spans of a map that the kernels of vectors put together; of more, in maps of few large images, torch's operations do."""


def has_pair_kernels(tail: PreactivatedTail, v: Tensor, tiling: Tiling) -> bool:
    """Return whether the kernels compute this tail of maps like v: not for a batch of several processes, nor for very wide layers."""
    width = 0 if tail.gate is None else len(tail.gate.w1)
    spans, _ = grid_of(Grid, v, tiling, summed=True).spans
    return tail.norm.group is None and is_taken(len(v), v.shape[1], width) and spans <= MOST_SPANS


def pair_forward(tail: PreactivatedTail, u: Tensor, r: Tensor, tiling: Tiling) -> PreactivatedOutput:
    """Compute `PreactivatedTail.forward`."""
    _, u, r = in_one_format(None, u, r)
    n, c = u.shape[:2]
    grid = grid_of(Grid, u, tiling, summed=True)
    spans, length = grid.spans
    found, norm, batch = Normalized(tail.norm, u), tail.norm, tail.norm.use_batch
    sizes, a = vector_grid(n, c, spans, 0), torch.empty_like(u)
    if tail.gate is None:
        v, mean, m2 = pair_passes.sum_and_moments_of_spans(u, r, tiling) if batch else (torch.empty_like(u), None, None)
        launch(
            statistics, sizes.blocks, *found.arguments, mean, m2, None, *(None,) * 10, 0.0, None, None, None, None, None,
            n, c, grid.positions, spans, length, 0, 1, EPS=norm.eps, R_EPS=0.0, BLOCK=sizes.block, IMAGES=sizes.images,
            SPANS=sizes.spans, ROWS=sizes.rows, HIDDEN=sizes.hidden, num_warps=WARPS,
        )  # fmt: skip
        maps = (v, None, None, found.scale, found.shift, None, a) if batch else (u, r, None, found.scale, found.shift, v, a)
        pair_passes.launch_apply(tiling, maps)
        branch = None
    else:
        moments = pair_passes.moments_of_spans_of_pair(u, r, tiling)
        excited, s = _gates(tail.gate, moments, grid)
        means, uv, v = torch.empty_like(s), torch.empty_like(s), torch.empty_like(u)
        launch(
            pair_vectors.pair_statistics, sizes.blocks, *found.arguments, moments, s, means, uv, n, c, grid.positions, spans, length,
            BATCH=batch, EPS=norm.eps, BLOCK=sizes.block, IMAGES=sizes.images, SPANS=sizes.spans, num_warps=WARPS,
        )  # fmt: skip
        pair_passes.launch_apply(tiling, (u, r, s, found.scale, found.shift, v, a))
        branch = GatedBranch(u, means, uv, excited)
    return PreactivatedOutput(PreactivatedSaved(v, a, found.normalization(), found.shift, branch), found.statistics())


def _gates(gate: Excitation, moments: Tensor, grid: Grid) -> tuple[Excited, Tensor]:
    """Return the gates of maps whose moments are known, and with their gain."""
    _, n, spans, c = moments.shape
    width = len(gate.w1)
    sizes = vector_grid(n, c, spans, width)
    squeeze, gates, s = (moments.new_empty(n, c) for _ in range(3))
    hidden = moments.new_empty(n, width)
    columns = min(64, sizes.columns)
    block = max(16, min(columns, SQUEEZED // (sizes.block_images * sizes.spans)))
    launch(
        pair_vectors.pair_gate, cdiv(n, sizes.block_images) * cdiv(c, columns), moments, *dense(gate.w1, gate.b1, gate.w2, gate.b2),
        squeeze, hidden, gates, s, n, c, grid.positions, spans, grid.spans[1], width, GAIN=float(gate.gain), GATE=gate.name,
        ROWS=sizes.block_images, BLOCK=block, COLUMNS=columns, HIDDEN=sizes.hidden, SPANS=sizes.spans, num_warps=WARPS,
    )  # fmt: skip
    return Excited(squeeze, hidden, gates), s


def pair_backward(tail: PreactivatedTail, dv: Tensor | None, da: Tensor, saved: PreactivatedSaved, tiling: Tiling) -> Gradients:
    """Compute `PreactivatedTail.backward`."""
    gradient, found, branch = saved.gradient(da, dv), saved.normalization, saved.branch
    sums = pair_passes.pair_sums_of_spans(gradient, found.mean, None if branch is None else branch.map, tiling)
    norm = NormGradient(tail.norm, found, saved.v)
    if tail.gate is None or branch is None:
        weights, gates, squeeze = {}, None, None
        _, n, spans, c = sums.shape
        sizes = vector_grid(n, c, spans, 0)
        launch(
            gradients.plain_gradient, sizes.blocks, sums, *norm.arguments, *(None,) * 7, n, c, saved.v.shape[2] * saved.v.shape[3], spans,
            BLOCK=sizes.block, PARTS=sizes.parts, num_warps=WARPS,
        )  # fmt: skip
    else:
        weights, gates, squeeze = _gate_gradients(tail.gate, branch, sums, norm, dv is not None)
    coefficients = PairCoefficients(found.scale, norm.by_x, norm.constant, gates, squeeze)
    dr, du = pair_passes.spread_over_pair(gradient, coefficients, tiling)
    return Gradients(du, dr, TailTensors(norm.dgamma, norm.dbeta, **weights))


def _gate_gradients(
    gate: Excitation, branch: GatedBranch, sums: Tensor, norm: NormGradient, with_dv: bool
) -> tuple[dict[str, Tensor | None], Tensor, Tensor]:
    """Return the gradients of both FCs by their names, the gates with their gain, and what comes through the squeeze."""
    _, n, spans, c = sums.shape
    positions, width, gain = branch.map.shape[2] * branch.map.shape[3], len(gate.w1), float(gate.gain)
    sizes, (w1, w2) = vector_grid(n, c, spans, width), dense(gate.w1, gate.w2)
    squeeze, hidden, gates = dense(branch.excited.squeeze, branch.excited.hidden, branch.excited.gates)
    weights: dict[str, Any] = {name: None if v is None else torch.empty_like(v) for name, v in (("w1", w1), ("w2", w2))}
    weights |= {name: None if v is None else torch.empty_like(v) for name, v in (("b1", gate.b1), ("b2", gate.b2))}
    through, s, of_squeeze = (torch.empty_like(squeeze) for _ in range(3))
    dhidden, partial = torch.empty_like(hidden), sums.new_empty(sizes.blocks, n, width)
    programs = sizes.blocks * sizes.tiles
    launch(
        pair_vectors.pair_gate_gradient, programs, sums, *norm.arguments, gates, squeeze, *dense(branch.means, branch.uv), hidden, w2,
        through, weights["w2"], weights["b2"], partial, n, c, positions, spans, width, DV=with_dv, GAIN=gain, GATE=gate.name,
        BLOCK=sizes.block, IMAGES=sizes.images, SPANS=sizes.spans, ROWS=sizes.rows, HIDDEN=sizes.hidden, PARTS=sizes.parts, num_warps=WARPS,
    )  # fmt: skip
    # The gradient of the logits has served: that of the squeeze takes its place.
    launch(
        gate_code.squeeze_gradient, sizes.programs, partial, hidden, w1, gates, None, dhidden, through, s, of_squeeze,
        n, c, positions, width, sizes.blocks, GAIN=gain, ROWS=sizes.block_images, COLUMNS=sizes.columns, HIDDEN=sizes.summed,
        PARTS=sizes.all_blocks, num_warps=WARPS, num_stages=UNSTAGED,
    )  # fmt: skip
    launch(
        gradients.norm_gradient, programs, through, None, squeeze, dhidden, None, None, None, None, weights["w1"], weights["b1"],
        None, None, None, None, n, c, positions, width, BLOCK=sizes.block, ROWS=sizes.rows, HIDDEN=sizes.hidden, num_warps=WARPS,
    )  # fmt: skip
    return weights, s, of_squeeze
