"""What is timed: a training step without its optimiser, and a forward pass; both wait for their device."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from senet.ops.backend import backend

HALF = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
"""Name of a type -> what autocast computes in; None = no autocast."""
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class TrainingStep:
    """Pass both ways through a module; gradients are new in each call.

    Args:
        model: the module, in training mode.
        inputs: what it is called with.
        finish: takes its output and runs the backward pass.
        tails: the backend of the residual tails; None = the default.
        autocast: the type of autocast, or None.
    """

    model: nn.Module
    inputs: tuple[Tensor, ...]
    finish: Callable[[Tensor], object]
    tails: str | None = None
    autocast: torch.dtype | None = None

    def __call__(self) -> None:
        """Take the step."""
        self.forget()
        device = self.inputs[0].device
        with by(self.tails):
            with torch.autocast(device.type, self.autocast) if self.autocast else nullcontext():
                output = self.model(*self.inputs)
            self.finish(output)
        wait(device)

    def forget(self) -> None:
        """Drop the gradients, so that the step neither adds to them nor finds their memory."""
        for tensor in (*self.model.parameters(), *self.inputs):
            tensor.grad = None


@dataclass(frozen=True)
class InferenceStep:
    """Pass forward through a module in evaluation mode."""

    model: nn.Module
    inputs: tuple[Tensor, ...]
    tails: str | None = None

    def __call__(self) -> None:
        """Take the step."""
        with torch.inference_mode(), by(self.tails):
            self.model(*self.inputs)
        wait(self.inputs[0].device)


def classify(labels: Tensor) -> Callable[[Tensor], None]:
    """Return what runs the backward pass of a classification from logits (N, classes)."""

    def finish(logits: Tensor) -> None:
        cross_entropy(logits.float(), labels).backward()

    return finish


def hand_back(gradient: Tensor) -> Callable[[Tensor], None]:
    """Return what runs a backward pass from a given gradient of the output."""
    return partial(torch.autograd.backward, grad_tensors=gradient)


def by(tails: str | None) -> AbstractContextManager[None]:
    """Run the residual tails by a backend; None = the default."""
    return nullcontext() if tails is None else backend(tails)


def wait(device: torch.device) -> None:
    """Wait until a device that works asynchronously is done."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
