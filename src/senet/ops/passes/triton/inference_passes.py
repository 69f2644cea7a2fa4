"""The passes of inference on a CUDA device."""

from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from senet.ops.passes.maps import layout, precision
from senet.ops.passes.partial_gate import Division, PartialGate
from senet.ops.passes.terms import Shortcut
from senet.ops.passes.triton import inference
from senet.ops.passes.triton.launch import dense, launch

ELEMENTS = 2048
"""Elements of a tile of a map; of float64 half as many."""
WEIGHT_ELEMENTS = 2048
"""Elements of a tile of a layer's weights, at most, and of parts; of float64 half as many."""
FEWEST_PROGRAMS = 128
"""Programs below which blocks of channels are narrowed."""
ENOUGH = {"activate_squeeze": 1024, "excite_join": 2048}
"""Programs beyond which one has several images, which read weights from the nearest cache; below it `excite_join` shares positions out."""
MOST_TOGETHER = 8
"""Images of a program, at most."""


class _Walk(NamedTuple):
    """Walk of a program over maps: its images, into how many spans positions are cut and how long each is, and its tiles."""

    together: int
    spans: int
    length: int
    tile: dict[str, int]

    def programs(self, images: int, channels: int) -> int:
        """Return how many programs there are."""
        return triton.cdiv(images, self.together) * triton.cdiv(channels, self.tile["CHANNELS"]) * self.spans


class TritonInferenceKernels:
    """The passes of a unit in inference as Triton kernels; see `InferenceKernels`.

    `activate_squeeze` reads a map and writes one, or none; `excite_join` reads one, or two with a shortcut, and writes one. Each is one
    launch. Weights come from the cache, once a program.
    """

    def activate_squeeze(self, c: Tensor, bias: Tensor | None, w1: Tensor, division: Division, *, relu: bool, out: Tensor | None) -> Tensor:
        """See `InferenceKernels`."""
        images, channels, hidden = len(c), c.shape[1], len(w1)
        parts = c.new_empty(images, division.parts(channels), hidden, dtype=precision(c))
        walk = _walk(c, division.channels, division.spans, ENOUGH["activate_squeeze"])
        block = walk.tile["CHANNELS"]
        launch(
            inference.activate_squeeze,
            walk.programs(images, channels),
            *(c, *dense(bias, w1), out, parts),
            *(images, walk.together, channels, hidden, *_sizes(c), walk.spans, walk.length),
            **walk.tile,
            HIDDEN=_chunk(hidden, block, c),
            RELU=relu,
        )
        return parts

    def excite_join(
        self, c: Tensor, bias: Tensor | None, gate: PartialGate | None, shortcut: Shortcut | None, *, relu: bool, out: Tensor
    ) -> None:
        """See `InferenceKernels`."""
        images, channels = len(c), c.shape[1]
        width = 64
        while width > 16 and images * triton.cdiv(channels, width) < FEWEST_PROGRAMS:
            width //= 2
        programs, spans = images * triton.cdiv(channels, width), 1
        while programs * spans < ENOUGH["excite_join"] and _positions(c) >= 64 * spans:
            spans *= 2
        walk = _walk(c, width, spans, ENOUGH["excite_join"])
        r, r_bias = (None, None) if shortcut is None else (shortcut.map.contiguous(memory_format=layout(c)), shortcut.shift)
        given = (None,) * 4 if gate is None else (gate.parts, gate.b1, gate.w2, gate.b2)
        pieces, hidden = (1, 1) if gate is None else gate.parts.shape[1:]
        rows = triton.next_power_of_2(pieces)
        name: Any
        gain: Any
        name, gain = ("relu", 1.0) if gate is None else (gate.name, gate.gain)
        launch(
            inference.excite_join,
            walk.programs(images, channels),
            *(c, *dense(bias, *given), r, *dense(r_bias), out),
            *(images, walk.together, channels, hidden, pieces, *_sizes(c), walk.spans, walk.length),
            **walk.tile,
            HIDDEN=_chunk(hidden, max(rows, width), c),
            PIECES=rows,
            GATE=name,
            GAIN=gain,
            RELU=relu,
        )


def _positions(c: Tensor) -> int:
    return c.shape[2] * c.shape[3]


def _sizes(c: Tensor) -> tuple[int, int, int]:
    """Return S, and the strides between channels and between positions."""
    positions = _positions(c)
    return (positions, 1, c.shape[1]) if layout(c) == torch.channels_last else (positions, positions, 1)


def _walk(c: Tensor, width: int, spans: int, enough: int) -> _Walk:
    """Return how programs walk over maps like c that are cut to blocks of channels and spans."""
    length = 8 * triton.cdiv(triton.cdiv(_positions(c), spans), 8)  # whole 16 bytes of a contiguous map of half precision
    elements = ELEMENTS * torch.float32.itemsize // precision(c).itemsize
    rows = max(1, min(triton.next_power_of_2(length), elements // width))
    programs = len(c) * triton.cdiv(c.shape[1], width) * spans
    together = max(1, min(MOST_TOGETHER, programs // enough))
    axis = 0 if layout(c) == torch.channels_last else 1
    return _Walk(together, spans, length, {"CHANNELS": width, "POSITIONS": rows, "AXIS": axis, "num_warps": 4})


def _chunk(hidden: int, other: int, c: Tensor) -> int:
    """Return how many hidden units a tile has whose other side has so many elements."""
    elements = WEIGHT_ELEMENTS * torch.float32.itemsize // precision(c).itemsize
    return max(1, min(triton.next_power_of_2(hidden), elements // other))
