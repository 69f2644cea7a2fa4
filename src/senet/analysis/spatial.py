"""Record the gates of positions while images pass through a network: one map a block (sSE, also that inside scSE)."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from senet.analysis.block_places import BlockPlace, block_places
from senet.blocks.kinds import is_block
from senet.errors import UsageError
from senet.surgery.hooks import hooked
from senet.surgery.preserve import evaluating


@dataclass(frozen=True)
class SpatialGates(BlockPlace):
    """Gates of one block on the recorded images.

    Args:
        channels: channels of the map that the block recalibrates.
        gates: (N, 1, h, w) on the CPU, (N, 1, d, h, w) of volumes; at least float32.
    """

    channels: int
    gates: Tensor = field(repr=False, compare=False)

    def map(self, index: int = 0) -> np.ndarray:
        """Return the gates of one image as (h, w) to be looked at; of a volume, those of the slice in its middle."""
        gates = self.gates[index, 0]
        while gates.ndim > 2:
            gates = gates[len(gates) // 2]
        return np.atleast_2d(gates.numpy())


def record_spatial_gates(model: nn.Module, images: Tensor) -> tuple[SpatialGates, ...]:
    """Run images through a network in evaluation mode and return the gates of positions, which heat maps show (Roy et al., 1803.02579).

    The model's training flags are left as they were. A block that runs several times, as one that stages share, has its last gates.

    Args:
        model: any network with gates of positions: sSE or scSE blocks, whatever their `combine`.
        images: (N, C, H, W), or (N, C, D, H, W); they move to the model's device.

    Returns:
        One entry a block, in the order of execution.

    Raises:
        UsageError: if the model has no such blocks, or runs none of them.
    """
    paths = spatial_gate_paths(model)
    if not paths:
        raise UsageError(f"{type(model).__name__} has no gates of positions to record; create_model('scse_unet') has them, for one")
    device = next(model.parameters()).device
    found: dict[nn.Module, tuple[int, Tensor]] = {}

    def note(block: Any, inputs: tuple[Any, ...], _: Tensor) -> None:
        found[block] = inputs[0].shape[1], block.gate(*inputs).cpu()

    with evaluating(model), torch.no_grad(), hooked(paths, note):
        model(images.to(device))
    if not found:
        raise UsageError(f"there is nothing to record: {type(model).__name__} runs none of its blocks with gates of positions")
    widths = [channels for channels, _ in found.values()]
    places = block_places(model, {block: paths[block] for block in found}, widths)
    return tuple(
        SpatialGates(**vars(place), channels=width, gates=gate) for place, (width, gate) in zip(places, found.values(), strict=True)
    )


def spatial_gate_paths(model: nn.Module) -> dict[nn.Module, str]:
    """Return the blocks of a network that have one gate a position, those inside other blocks too, and their paths."""
    named: Iterable[tuple[str, Any]] = model.named_modules()
    return {module: path for path, module in named if is_block(module) and getattr(module, "has_spatial_gates", False)}
