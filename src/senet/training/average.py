"""The running average of the weights, which asks the device nothing: whether it has begun is known on the host."""

from collections import defaultdict

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class WeightAverage(AveragedModel):
    """Exponential moving average of parameters and buffers: torch's `AveragedModel`, its state and its numbers, in two halves.

    `AveragedModel.update_parameters` counts, on the host, and averages, on the device; a CUDA graph repeats only the second.

    Args:
        model: the network, on its device.
        decay: share of the old average that a step keeps.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
        self._begins = True

    def count(self) -> None:
        """Count the step that is about to be taken; the first one of all makes the average equal to the network."""
        self._begins = not self.n_averaged.item()  # the count is on the CPU
        self.n_averaged.add_(1)

    def discount(self) -> None:
        """Take back the count of a step that was not taken."""
        self.n_averaged.sub_(1)

    @torch.no_grad()
    def follow(self, model: nn.Module) -> None:
        """Move the average to the network's values after the step that was counted last."""
        groups = defaultdict[torch.dtype, tuple[list[Tensor], list[Tensor]]](lambda: ([], []))
        for own, new in zip(_values(self.module), _values(model), strict=True):
            groups[own.dtype][0].append(own)
            groups[own.dtype][1].append(new)
        for averages, values in groups.values():
            if self._begins:
                for average, value in zip(averages, values, strict=True):
                    average.copy_(value)
            else:
                self.multi_avg_fn(averages, values, 0)  # pyright: ignore[reportOptionalCall] - set by the constructor


def _values(model: nn.Module) -> list[Tensor]:
    return [tensor.detach() for tensor in (*model.parameters(), *model.buffers())]
