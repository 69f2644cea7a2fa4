"""The curves of the paper's Figures 6 and 7: gates by channel, for chosen classes and for all."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from senet.analysis.record import BlockExcitation, Excitations
from senet.errors import UsageError
from senet.spec import check_positive


@dataclass(frozen=True)
class GateCurve:
    """Gates of one class in one block, at the panel's channels.

    Args:
        mean: mean gate of each channel.
        std: standard deviation over the images of the class, weighted as the mean is.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Panel:
    """Curves of one block.

    Args:
        name: name of the block, SE_<stage>_<block> where the stages are numbered.
        path: its place in the model.
        channels: indices of the channels drawn, ascending.
        classes: label -> its curve.
        overall: mean over the means of all classes recorded, not only of those drawn; "all" in the paper's legend.
        weighted: whether images were weighed by how much they hold of each class.
    """

    name: str
    path: str
    channels: tuple[int, ...]
    classes: dict[int, GateCurve]
    overall: tuple[float, ...]
    weighted: bool = False


def excitation_curves(excitations: Excitations, classes: Sequence[int] | None = None, *, channels: int = 50) -> tuple[Panel, ...]:
    """Choose what Figures 6 and 7 show (Hu et al., 1709.01507v4, section 7.2): the last block of each stage, and all of the last stage.

    Args:
        excitations: what `record_excitations` returned.
        classes: labels to draw; None = four, evenly spread over those recorded.
        channels: how many channels to draw, sampled uniformly; a block with fewer shows them all.

    Raises:
        UsageError: for a class that was not recorded, or fewer than one channel.
    """
    channels = check_positive("channels", channels)
    chosen = _spread(excitations.classes, 4) if classes is None else tuple(classes)
    for label in chosen:
        if label not in excitations.classes:
            raise UsageError(f"class {label} was not recorded; recorded: {', '.join(map(str, excitations.classes))}")
    last = excitations.blocks[-1].stage
    rows = {label: excitations.classes.index(label) for label in chosen}
    shown = (block for block in excitations.blocks if block.ends_stage or block.stage == last)
    return tuple(replace(_panel(block, rows, channels), weighted=excitations.weighted) for block in shown)


def _panel(block: BlockExcitation, rows: dict[int, int], channels: int) -> Panel:
    drawn = _spread(range(block.channels), channels)
    mean, std = block.mean[:, list(drawn)], block.std[:, list(drawn)]
    curves = {label: GateCurve(tuple(mean[row].tolist()), tuple(std[row].tolist())) for label, row in rows.items()}
    return Panel(block.name, block.path, drawn, curves, tuple(mean.mean(0).tolist()))


def _spread(items: Sequence[int], count: int) -> tuple[int, ...]:
    """Return `count` items at even distances, first and last included, or all when there are no more."""
    if len(items) <= count:
        return tuple(items)
    if count == 1:
        return (items[0],)
    return tuple(items[round(i * (len(items) - 1) / (count - 1))] for i in range(count))
