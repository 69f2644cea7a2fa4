"""What residual networks share: stages of units, and their zero initialisation."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from senet.models.classifier import Classifier
from senet.models.residual import ResidualUnit, UnitShape
from senet.models.unit_blocks import UnitBlocks


class ResidualNet(Classifier):
    """Network of stages of residual units; every stage but the first halves the resolution.

    Args:
        zero_init_residual: zero the weight that scales each branch (the last BN's gamma; the last convolution of a pre-activation unit), so
            that units start as their shortcut (Goyal et al., 1706.02677, section 5.1).
        dropout: see `Classifier`.
    """

    stage_type: type[nn.Sequential] = nn.Sequential
    """What the units of a stage stand in."""

    def __init__(self, *, zero_init_residual: bool = False, dropout: float = 0.0) -> None:
        super().__init__(dropout=dropout)
        self.zero_init_residual = zero_init_residual

    def stack(
        self,
        unit: Callable[[UnitShape, UnitBlocks], ResidualUnit],
        counts: Sequence[int],
        inputs: int,
        outputs: Sequence[int],
        blocks: UnitBlocks,
        *,
        stride: int,
        **shape: Any,
    ) -> None:
        """Add the stages.

        Args:
            unit: the residual unit's class, or another maker of units.
            counts: units in each stage.
            inputs: channels of the stem's map.
            outputs: channels of each stage.
            blocks: which unit gets which block.
            stride: input pixels a cell of the stem's map.
            shape: further fields of the first unit's shape.
        """
        blocks.check(self.stage_names)
        self.feature_info = []
        first = UnitShape(min(self.stage_names), 1, inputs, outputs[0], **shape)
        for (stage, name), count, channels in zip(self.stage_names.items(), counts, outputs, strict=True):
            if stage != first.stage:
                first = replace(first, stage=stage, inputs=first.outputs, outputs=channels, stride=2, shared_activation=False)
                stride *= 2
            repeated = replace(first, inputs=channels, stride=1, shared_activation=False)
            shapes = [first] + [replace(repeated, index=index) for index in range(2, count + 1)]
            self.add_module(name, self.stage_type(*(unit(shape, blocks) for shape in shapes)))
            self.feature_info.append({"channels": channels, "stride": stride})

    def reset_parameters(self) -> None:
        """Initialise every layer, then zero the branches if asked."""
        super().reset_parameters()
        if self.zero_init_residual:
            for module in self.modules():
                if isinstance(module, ResidualUnit):
                    module.zero_branch()
