"""Record the gates of a network while images pass through it: per block, class and channel."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from rich.table import Table
from torch import Tensor, nn

from senet.analysis.block_places import BlockPlace, block_places
from senet.analysis.moments import ClassMoments
from senet.blocks.kinds import is_block
from senet.errors import UsageError
from senet.surgery.hooks import hooked
from senet.surgery.preserve import evaluating


@dataclass(frozen=True)
class BlockExcitation(BlockPlace):
    """Gate statistics of one block; K classes were seen, the block has C channels.

    Args:
        mean: (K, C) mean gate of each class, float64.
        std: (K, C) standard deviation within each class (population), float64.
        count: (K,) gates seen of each class; with weights, their sum.
    """

    mean: Tensor = field(repr=False, compare=False)
    std: Tensor = field(repr=False, compare=False)
    count: Tensor = field(repr=False, compare=False)

    @property
    def channels(self) -> int:
        """How many channels the block recalibrates."""
        return self.mean.shape[1]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        facts = {"path": self.path, "name": self.name, "stage": self.stage, "ends_stage": self.ends_stage}
        return facts | {"mean": self.mean.tolist(), "std": self.std.tolist(), "count": self.count.tolist()}


@dataclass(frozen=True)
class Excitations:
    """Gate statistics of a network.

    Args:
        classes: the labels that were seen, ascending; row k of every block's statistics belongs to classes[k].
        blocks: one entry a block, in the order of execution.
        weighted: whether images were weighed by how much they hold of each class.
    """

    classes: tuple[int, ...]
    blocks: tuple[BlockExcitation, ...]
    weighted: bool = False

    def __getitem__(self, name: str) -> BlockExcitation:
        """Return a block by its name or path.

        Raises:
            KeyError: if there is none.
        """
        for block in self.blocks:
            if name in (block.name, block.path):
                return block
        raise KeyError(name)

    def table(self) -> Table:
        """Return one row a block: mean gate, spread within the classes, spread between them."""
        table = Table("block", "path", "channels", "mean", "within classes", "between classes")
        for block in self.blocks:
            within = block.std.square().mean().sqrt()
            between = block.mean.std(0, correction=0).square().mean().sqrt()
            numbers = (f"{value:.4f}" for value in (block.mean.mean(), within, between))
            table.add_row(block.name, block.path, str(block.channels), *numbers)
        for column in table.columns[2:]:
            column.justify = "right"
        return table

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        weighted = {"weighted": True} if self.weighted else {}
        return {"classes": list(self.classes), **weighted, "blocks": [block.to_dict() for block in self.blocks]}


def record_excitations(model: nn.Module, batches: Iterable[Sequence[Any]]) -> Excitations:
    """Run labelled images through a network in evaluation mode and summarise its gates (Hu et al., 1709.01507, section 7.2).

    A gate that keeps its positions (squeeze "none") is averaged over them first. The model's training flags are left as they were.

    Args:
        model: any network with channel gates: SE, scSE or CMPE-SE blocks.
        batches: tuples that begin with images, (N, C, H, W), and labels, (N,) classes from 0; the images move to the model's device. Of
            images that hold several classes, labels are (N, K) counts of what each holds of every class, such as its pixels: means and
            deviations are weighted by them, and are those of the gates that a pixel of the class meets.

    Raises:
        UsageError: if the model has no blocks, there are no images, no image holds anything, or labels and images do not match.
    """
    paths = gate_paths(model)
    if not paths:
        raise UsageError(f"{type(model).__name__} has no channel gates to record; create_model('se_resnet50') has them, for one")
    device = next(model.parameters()).device
    moments: dict[nn.Module, ClassMoments] = {}
    gates: list[tuple[nn.Module, Tensor]] = []
    weighted = False

    def note(block: Any, inputs: tuple[Any, ...], _: Tensor) -> None:
        gates.append((block, block.gate(*inputs)))

    with evaluating(model), torch.no_grad(), hooked(paths, note):
        for images, labels, *_ in batches:
            labels = checked_labels(labels, images)
            if not len(labels):
                continue
            gates.clear()
            weighted |= labels.ndim == 2
            model(images.to(device))
            for block, gate in gates:
                values = gate.flatten(2).mean(2) if gate.ndim > 2 else gate
                of_block = moments.setdefault(block, ClassMoments(values.shape[1]))
                (of_block.update_weighted if labels.ndim == 2 else of_block.update)(values, labels)
    if not any(of_block.count.any() for of_block in moments.values()):
        raise UsageError("there is nothing to record: the batches hold no images of any class, or the model runs none of its blocks")
    return summary(moments, paths, model, weighted=weighted)


def gate_paths(model: nn.Module) -> dict[nn.Module, str]:
    """Return the blocks of a network that have one gate a channel, those inside other blocks too, and their paths."""
    named: Iterable[tuple[str, Any]] = model.named_modules()
    return {module: path for path, module in named if is_block(module) and module.has_channel_gates}


def checked_labels(labels: Any, images: Tensor) -> Tensor:
    """Return labels of images as int64 on the CPU: (N,) classes, or (N, K) counts.

    Raises:
        UsageError: if they are neither, or no whole numbers: fractions are not cut off.
    """
    labels = torch.as_tensor(labels).to("cpu")
    if labels.numel() and (labels.is_floating_point() or labels.is_complex()):
        raise UsageError(f"labels must be whole numbers, classes or counts by class, got {labels.dtype}; if they are whole: labels.long()")
    labels = labels.to(torch.int64)
    if labels.ndim not in (1, 2) or len(labels) != len(images) or (labels < 0).any():
        raise UsageError(
            f"labels must be one class (0, 1, ...), or a row of whole counts by class, for each of the {len(images)} images, got shape "
            f"{tuple(labels.shape)}"
        )
    return labels


def summary(moments: Mapping[nn.Module, ClassMoments], paths: Mapping[nn.Module, str], model: nn.Module, *, weighted: bool) -> Excitations:
    """Return what was recorded of each block, the classes without images left out.

    Args:
        moments: block -> its gates by class, in the order of execution.
        paths: block -> its path.
        model: the network.
        weighted: whether images were weighed by how much they hold of each class.
    """
    seen = next(iter(moments.values())).count.nonzero()[:, 0]
    places = block_places(model, {block: paths[block] for block in moments}, [stats.mean.shape[1] for stats in moments.values()])
    blocks = []
    for place, stats in zip(places, moments.values(), strict=True):
        count = stats.count[seen].long()
        blocks.append(BlockExcitation(**vars(place), mean=stats.mean[seen], std=stats.std[seen], count=count))
    return Excitations(tuple(seen.tolist()), tuple(blocks), weighted)
