"""Whether an exported file computes what its network does."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from senet.deploy.formats import Runner, output_tensors
from senet.errors import UsageError, first_line_of
from senet.text import message_line

TOLERANCE = {torch.float16: 2e-2, torch.bfloat16: 1e-1}
"""Type of the outputs -> largest difference, relative to the largest of them, that a file may show (engines sum in other orders)."""

TOLERANCE_ELSE = 1e-3


@dataclass(frozen=True)
class Check:
    """Comparison of a file with its network: the images' shape, and the largest difference relative to the largest output.

    If all outputs of the network are 0, the difference is absolute.
    """

    shape: tuple[int, ...]
    error: float


def outputs_of(network: nn.Module, images: Tensor) -> Any:
    """Return what a network says of images.

    Raises:
        UsageError: if it refuses them, or gives no tensors.
    """
    shape = "x".join(map(str, images.shape))
    try:
        with torch.no_grad():
            outputs = network(images)
    except Exception as error:  # a network may refuse in any way
        raise UsageError(message_line(f"{type(network).__name__} refuses an input of {shape}: {error}")) from error
    if not output_tensors(outputs):
        returned = type(outputs).__name__
        raise UsageError(f"{type(network).__name__} returns {returned}; only tensors, and tuples and mappings of them, can be exported")
    return outputs


def compare_outputs(path: Path, runner: Runner, reference: nn.Module, batches: Sequence[Tensor]) -> list[Check]:
    """Run a file and its network on batches.

    Raises:
        UsageError: if the network refuses one, or what it says of it is no number.
        RuntimeError: if the file cannot be run, or computes something else.
    """
    run = in_one_line("the file cannot be run here (make the network float32, write a .pt2 file, or do not verify)", lambda: runner(path))
    found = []
    for batch in batches:
        shape, want = "x".join(map(str, batch.shape)), output_tensors(outputs_of(reference, batch))
        if any(bool(output.isnan().any()) for output in want):
            raise UsageError(f"{type(reference).__name__} itself gives nan on {shape}, so that nothing can be compared with it")
        with torch.no_grad():
            got = output_tensors(in_one_line(f"the file cannot be run on {shape}; a fixed size may help", lambda batch=batch: run(batch)))
        error = _difference(got, want)
        if not error <= TOLERANCE.get(want[0].dtype, TOLERANCE_ELSE):
            raise RuntimeError(f"the file computes something else: {error:.1e} of the largest output off on {shape}; nothing is written")
        found.append(Check(tuple(batch.shape), error))
    return found


def _difference(got: Sequence[Tensor], want: Sequence[Tensor]) -> float:
    """Return the largest difference of any output, relative to its largest value unless that is 0; infinite for other shapes."""
    if [tensor.shape for tensor in got] != [tensor.shape for tensor in want]:
        return torch.inf
    return max(
        (_largest(one.to(other).double(), other.double()) for one, other in zip(got, want, strict=True) if other.numel()), default=0.0
    )


def _largest(got: Tensor, want: Tensor) -> float:
    finite = want.isfinite()
    if not torch.equal(got.isfinite(), finite) or not torch.equal(got[~finite], want[~finite]):  # masked logits are -inf in both
        return torch.inf
    got, want = got[finite], want[finite]
    if not want.numel():
        return 0.0
    return float((got - want).abs().max() / (want.abs().max() or 1.0))


def in_one_line(what: str, action: Callable[[], Any]) -> Any:
    """Return what an action gives; its errors, of many lines and kinds, become a RuntimeError of one line."""
    try:
        return action()
    except UsageError:
        raise
    except Exception as error:
        raise RuntimeError(message_line(f"{what}: {first_line_of(error)}; nothing is written")) from error
