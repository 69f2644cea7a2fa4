"""Modes and attributes of a network that are as before when a block of code ends."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode, and every module back to its own mode afterwards."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


@contextmanager
def unchanged(*modules: nn.Module) -> Iterator[None]:
    """Undo what forwards do to the attributes of modules: a run with symbols, or with shapes only, would leave those behind in caches.

    Modules that `Module.compile` compiled in place run as they are written meanwhile: the compiler takes no such runs.
    """
    before = [(module, dict(module.__dict__)) for module in modules]
    inner = [(value, dict(value)) for _, own in before for value in own.values() if isinstance(value, dict)]
    for module, _ in before:
        module.__dict__.pop("_compiled_call_impl", None)
    try:
        yield
    finally:
        for module, own in before:
            module.__dict__.clear()
            module.__dict__.update(own)
        for value, entries in inner:
            value.clear()
            value.update(entries)


@contextmanager
def same_buffers(module: nn.Module) -> Iterator[None]:
    """Undo what a forward does to the numbers in a module's own buffers, such as a count of its runs."""
    before = [(buffer, buffer._version, buffer.clone()) for buffer in module._buffers.values() if buffer is not None]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, version, numbers in before:
                if buffer._version != version:
                    buffer.copy_(numbers)
