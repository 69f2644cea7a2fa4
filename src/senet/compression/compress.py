"""Fold the blocks of a network within a tolerance, on batches of images: some decide, the others tell what was lost."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from senet.compression.fold_curve import CompressionReport
from senet.compression.tolerance import compress_within
from senet.errors import UsageError
from senet.measuring.scores import Scores
from senet.surgery.preserve import evaluating
from senet.surgery.wrappers import unwrap

BatchMeasure = Callable[[nn.Module, Sequence[Sequence[Any]]], Scores]
"""Scores a network on batches."""


def compress(
    model: nn.Module, batches: Iterable[Sequence[Any]], *, tolerance: float = 0.1, measure: BatchMeasure | None = None
) -> CompressionReport:
    """Fold the blocks that a network does without: the layers around take up their mean gates (Hu et al., 1709.01507, section 7.2).

    Every other batch, from the first one on, decides: means of the gates, harm of each block, when to stop. The others tell what was lost,
    with an interval. See `compress_within` for the order, and `fold_constant` for how a block is folded.

    Args:
        model: any network with blocks, its own, inserted or another library's; it is not changed, and measured in evaluation mode.
        batches: tuples that begin with images (N, C, H, W) and labels; they are all kept in memory. Labels are classes, (N,), unless
            `measure` takes others; then only counts by class, (N, K), or None are of use to it beside classes.
        tolerance: how much worse the metric may become on the images that decide, in its unit.
        measure: called with a network and batches, returns its scores; None = top-1 of logits (N, classes), in percent.

    Returns:
        A report whose `.model` is the network; `.table()` and `.to_dict()` tell the rest.

    Raises:
        UsageError: for fewer than two batches, a tolerance below 0, or a network without blocks.
    """
    model = unwrap(model)
    kept = [batch for batch in batches if len(batch[0])]
    if len(kept) < 2:
        raise UsageError(f"every other batch decides, and the others tell what was lost: give two batches or more, got {len(kept)}")
    deciding, held_out = kept[::2], kept[1::2]
    scored = top1_scores if measure is None else measure
    return compress_within(model, lambda network: scored(network, deciding), lambda network: scored(network, held_out), deciding, tolerance)


def top1_scores(model: nn.Module, batches: Sequence[Sequence[Any]]) -> Scores:
    """Score a classifier by the share of images whose largest logit is their class's, in percent.

    Raises:
        UsageError: if it does not map images to logits (N, classes), or labels are not classes (N,).
    """
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))  # a file that is run has none
    right = []
    with evaluating(model), torch.no_grad():
        for images, labels, *_ in batches:
            logits, classes = model(images.to(device)), torch.as_tensor(labels)
            if not isinstance(logits, Tensor) or logits.ndim != 2 or classes.shape != logits.shape[:1]:
                raise UsageError("top-1 needs logits (N, classes) of a network and one class an image as labels: give measure for others")
            right.append(logits.argmax(1).cpu() == classes.cpu())
    images = 100 * torch.cat(right).double()
    return Scores(images.mean().item(), images)
