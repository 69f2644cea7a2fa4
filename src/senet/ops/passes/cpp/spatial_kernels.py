"""The passes that gate positions in C++ as `senet.ops.passes.protocol.SpatialKernels`; `spatial.cpp` holds them."""

from typing import cast

from torch import Tensor

from senet.ops.passes.cpp.operators import OPERATORS
from senet.ops.passes.terms import (
    Centred,
    Coefficients,
    GateOfPositions,
    Normalised,
    OutputGradient,
    PositionCoefficients,
    PositionSums,
    Shortcut,
)


class CppSpatialKernels:
    """The passes for CPUs: vectorised, one read of every map, sums that do not depend on the number of threads."""

    def apply_positions(
        self, branch: Normalised, gate: GateOfPositions, shortcut: Shortcut | None, relu: bool
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """See `SpatialKernels`."""
        r = (None, None, None) if shortcut is None else (shortcut.map, shortcut.scale, shortcut.shift)
        gates = gate.weight, gate.bias, gate.channels
        y, q = cast(tuple[Tensor, Tensor], OPERATORS.apply_positions(branch.map, branch.scale, branch.shift, *gates, *r, relu))
        return y, y if relu else None, q

    def reduce_positions(
        self, gradient: OutputGradient, branch: Normalised, gates: Tensor, shortcut: Centred | None, store_gradient: bool
    ) -> PositionSums:
        """See `SpatialKernels`."""
        r = (None, None) if shortcut is None else (shortcut.map, shortcut.mean)
        u = branch.map, branch.mean, branch.scale, branch.shift
        found = OPERATORS.reduce_positions(gradient.dy, gradient.relu_mask, *u, gates, *r, store_gradient)
        g, gx, gq, gqx, lx, gr, dl, stored = found
        return PositionSums(g, gx, gr, stored, gq, gqx, lx, dl)

    def spread_positions(self, gradient: OutputGradient, x: Tensor, coefficients: Coefficients, positions: PositionCoefficients) -> Tensor:
        """See `SpatialKernels`."""
        of_channels = coefficients.by_g, coefficients.by_x, coefficients.constant
        of_positions = positions.by_gq, positions.by_dl, positions.gates, positions.dl
        return cast(Tensor, OPERATORS.spread_positions(gradient.dy, gradient.relu_mask, x, *of_channels, *of_positions))
