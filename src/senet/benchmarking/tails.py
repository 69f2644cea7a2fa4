"""The operator alone: BN, recalibration, shortcut and ReLU at a residual unit's end, by backend."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from senet.benchmarking.settings import Settings, times
from senet.benchmarking.workload import PLAIN
from senet.blocks.build import build_block
from senet.errors import UsageError
from senet.measuring.steps import FLOATS, InferenceStep, TrainingStep
from senet.ops.backend import BUILDERS, REFERENCE, fastest
from senet.ops.tail.call import keep, residual_tail
from senet.spec import BlockSpec, block_class, check_choice

BACKENDS = (REFERENCE, *BUILDERS)
"""What can run a tail."""


class ResidualTail(nn.Module):
    """End a residual unit: relu(shortcut + SE(BN(branch))), or plainly without the block.

    Args:
        channels: channels of both maps.
        block: what recalibrates, or None.
    """

    def __init__(self, channels: int, block: BlockSpec | None) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)
        self.pairwise = block is not None and block_class(block.kind).sees_shortcut
        self.se = keep if block is None else build_block(block, channels)

    def forward(self, branch: Tensor, shortcut: Tensor) -> Tensor:
        """Join branch and shortcut, (N, C, H, W) both."""
        return residual_tail(branch, shortcut, norm=self.bn, recalibrate=self.se, pairwise=self.pairwise)


def default_backends(settings: Settings) -> tuple[str, ...]:
    """Return the definition, and the backend that runs on the device where nobody asks for one."""
    return tuple(dict.fromkeys((REFERENCE, fastest(torch.device(settings.device).type).name)))


def check_backends(names: Sequence[str], settings: Settings) -> None:
    """Raise UsageError unless all backends can run on the device; what has to be built first is built."""
    for name in names:
        check_choice("backend of the tail", name, BACKENDS)
        kernels, reason = (True, "") if name == REFERENCE else BUILDERS[name](torch.device(settings.device).type)
        if kernels is None:
            raise UsageError(f"the backend {name!r} cannot run here: {reason}")


def tail_steps(shape: Sequence[int], block: BlockSpec, backends: Sequence[str], settings: Settings) -> dict[str, Mapping[str, Any]]:
    """Return, for each backend, the steps of the plain and of the recalibrated tail, by form.

    Maps have the type asked for, parameters are float32, as under autocast.

    Args:
        shape: (N, C, H, W) of branch and shortcut.
        block: what recalibrates.
        backends: what runs it.
        settings: how it is measured.
    """
    random, training = torch.Generator().manual_seed(0), settings.mode == "training"

    def noise() -> Tensor:
        values = torch.randn(*shape, generator=random)
        return values.to(settings.device, FLOATS[settings.dtype]).to(memory_format=torch.channels_last)

    maps, gradient = tuple(noise().requires_grad_(training) for _ in range(2)), noise()
    modules = {
        form: ResidualTail(shape[1], spec).to(settings.device).train(training) for form, spec in ((PLAIN, None), (block.kind, block))
    }
    return {
        name: {
            form: TrainingStep(module, maps, lambda output: output, gradient, tails=name) if training else InferenceStep(module, maps, name)
            for form, module in modules.items()
        }
        for name in backends
    }


def about_tail(shape: Sequence[int], settings: Settings) -> str:
    """Say in words what is measured."""
    return f"residual tail, {times(shape)}, {settings.dtype}: {settings.mode}"
