"""What is timed: a training step and a forward pass; both wait for their device."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from senet.measuring.device import synchronize
from senet.ops.backend import backend

FLOATS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""Name of a precision -> the type that weights are converted to."""
AUTOCAST: dict[str, torch.dtype | None] = FLOATS | {"fp32": None}
"""Name of a precision -> what autocast computes in; None = no autocast."""


@dataclass(frozen=True)
class TrainingStep:
    """Forward pass, loss and backward pass with new gradients, and the optimiser's step if there is one.

    Args:
        model: the module, in training mode.
        inputs: what it is called with: tensors, and lists and mappings of them.
        loss: called with the module's output; returns what the backward pass begins at.
        gradient: gradient of what `loss` returns; None = 1, for a scalar.
        optimizer: takes the step; None = weights stay.
        tails: the backend of the residual tails; None = the default.
        autocast: the type of autocast, or None.
    """

    model: nn.Module
    inputs: tuple[Any, ...]
    loss: Callable[[Any], Tensor]
    gradient: Tensor | None = None
    optimizer: torch.optim.Optimizer | None = None
    tails: str | None = None
    autocast: torch.dtype | None = None

    def __call__(self) -> None:
        """Take the step, and wait for its end."""
        self.begin()
        synchronize(self.device)

    def begin(self) -> None:
        """Take the step without waiting, as it can be captured in a CUDA graph."""
        self.zero_grad()
        device = self.device
        with _tails_by(self.tails):
            with torch.autocast(device.type, self.autocast) if self.autocast else nullcontext():
                output = self.model(*self.inputs)  # held until after the backward pass, as a training loop does
                loss = self.loss(output)
            loss.backward(self.gradient)
        if self.optimizer is not None:
            self.optimizer.step()

    @property
    def device(self) -> torch.device:
        """Where its inputs are."""
        return next(_tensors(self.inputs)).device

    def zero_grad(self) -> None:
        """Drop the gradients, so that the step neither adds to them nor finds their memory."""
        for tensor in (*self.model.parameters(), *_tensors(self.inputs)):
            tensor.grad = None


@dataclass(frozen=True)
class InferenceStep:
    """Forward pass through a module in evaluation mode.

    Args:
        model: the module, in evaluation mode.
        inputs: what it is called with.
        tails: the backend of the residual tails; None = the default.
    """

    model: nn.Module
    inputs: tuple[Tensor, ...]
    tails: str | None = None

    def __call__(self) -> None:
        """Take the step, and wait for its end."""
        self.begin()
        synchronize(self.inputs[0].device)

    def begin(self) -> None:
        """Take the step without waiting, as it can be captured in a CUDA graph."""
        with torch.inference_mode(), _tails_by(self.tails):
            self.model(*self.inputs)


def cross_entropy_of(labels: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the loss of logits (N, classes) against labels (N,), a mean in float32 under autocast too."""
    return partial(cross_entropy, target=labels)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _tensors(part)


def _tails_by(name: str | None) -> AbstractContextManager[None]:
    return nullcontext() if name is None else backend(name)
