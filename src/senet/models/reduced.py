"""Networks that were made smaller after they were built: the steps are written down, and carried out again when one is rebuilt."""

from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, field, replace
from typing import Any

from torch import nn

from senet.errors import UsageError
from senet.insertion.gated import Gated
from senet.insertion.written import PATH
from senet.models.network import ModelConfig
from senet.schema import FLAG, integer, items, record, table
from senet.surgery.channel_scale import ChannelScale, PassThrough
from senet.surgery.replace import replace_modules
from senet.surgery.widths import WIDEST_LAYER, Widths, has_widths, resize_, widths_of

REDUCED = "reduced"
"""Option of a network's configuration that holds the steps."""

_COUNT = integer(1, WIDEST_LAYER)
WRITTEN_STEP = record(
    {
        "folded": items(record({"path": PATH, "channels": _COUNT, "scale": FLAG}, needed=("path", "channels", "scale")), high=10_000),
        "widths": table(PATH, items(integer(0, WIDEST_LAYER), 3, 3), high=100_000),
    }
)
"""A step as `ReducedStep.to_dict` writes it."""


@dataclass(frozen=True)
class FoldedBlock:
    """Block whose gate is constant.

    Args:
        path: where the block was.
        channels: how many channels it recalibrated.
        scale: whether a factor a channel stays in its place; otherwise the layers around it have taken the factors up.
    """

    path: str
    channels: int
    scale: bool = False


@dataclass(frozen=True)
class ReducedStep:
    """Step that took something away from a network.

    Args:
        folded: blocks that became constants.
        widths: path of a layer -> its inputs, outputs and groups since then; 0 = as they were, so that a network of other classes or
            channels of images is reduced alike.
    """

    folded: tuple[FoldedBlock, ...] = ()
    widths: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)

    @classmethod
    def between(cls, before: Mapping[str, Widths], after: Mapping[str, Widths]) -> "ReducedStep":
        """Return the step that makes layers of some widths, by path, those of others."""
        changes = {path: _changes(before[path], widths) for path, widths in after.items()}
        return cls(widths={path: change for path, change in changes.items() if any(change)})

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return {"folded": [vars(block) for block in self.folded], "widths": {path: list(own) for path, own in self.widths.items()}}

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> "ReducedStep":
        """Build a step from plain data.

        Raises:
            UsageError: if it says what no step can.
        """
        WRITTEN_STEP.check(tree, REDUCED)
        folded = tuple(FoldedBlock(**block) for block in tree.get("folded", ()))
        return cls(folded, {path: (own[0], own[1], own[2]) for path, own in tree.get("widths", {}).items()})

    def carry_out(self, model: nn.Module) -> None:
        """Reduce a network, in place, to modules and shapes of this step; what they hold is to be loaded or set.

        Raises:
            UsageError: if the network has no such block or layer, or a layer would grow.
        """
        for block in self.folded:
            fold_away(model, block)
        for path, change in self.widths.items():
            _narrow(module_at(model, path), change, path)

    def carry_out_without_blocks(self, model: nn.Module) -> None:
        """Narrow the plain twin of the network that this step was taken in."""
        modules = dict(model.named_modules())
        for path, change in self.widths.items():
            bare = ".".join(part for part in path.split(".") if part != "host")
            if bare in modules:
                _narrow(modules[bare], change, bare)


def fold_away(model: nn.Module, block: FoldedBlock) -> None:
    """Leave a factor a channel in the place of a block, or nothing, in place.

    A unit of this package holds None where it has no block, and a wrapper leaves for its host; elsewhere a module that passes its input on
    takes the place.

    Raises:
        UsageError: if the network has no such block.
    """
    found = module_at(model, block.path)
    if block.scale:
        replace_modules(model, {found: ChannelScale(block.channels).to(next(model.parameters()).device)})
        return
    parent_path, _, name = block.path.rpartition(".")
    parent = module_at(model, parent_path) if parent_path else model
    if isinstance(parent, Gated) and parent is not model:
        replace_modules(model, {parent: parent.host})
    elif name == "se" and type(parent).__module__.startswith("senet.models."):
        _without_block(parent)
    else:
        replace_modules(model, {found: PassThrough()})


def _without_block(unit: Any) -> None:
    """Take the block out of a unit of this package, as its constructor leaves one without."""
    unit.se = None
    if hasattr(unit, "sees_shortcut"):
        unit.sees_shortcut = False


def reduce_network(model: nn.Module, steps: Iterable[Mapping[str, Any]], *, plain: bool = False) -> nn.Module:
    """Carry out the steps that a configuration holds on the network that it describes without them, and write them down in it.

    Args:
        model: the network, which is changed.
        steps: what `ReducedStep.to_dict` gave.
        plain: whether the network has no blocks: what was done to those is left out then, and nothing is written down.

    Raises:
        UsageError: if one cannot be carried out.
    """
    for step in map(ReducedStep.from_dict, steps):
        if plain:
            step.carry_out_without_blocks(model)
        else:
            step.carry_out(model)
            record_step(model, step)
    return model


def record_step(model: nn.Module, step: ReducedStep) -> None:
    """Add a step that was carried out to a network's configuration, if this package made it, so that it travels with its weights.

    What shows another network's configuration as its own, as the backbone of a detector does, has none that a step could be added to.
    """
    config = vars(model).get("config")
    if isinstance(config, ModelConfig):
        steps = [*config.options.get(REDUCED, ()), step.to_dict()]
        model.config = replace(config, options=dict(config.options) | {REDUCED: steps})  # pyright: ignore[reportArgumentType]


def layer_widths(model: nn.Module) -> dict[str, Widths]:
    """Return the widths of all layers that have some, by path."""
    return {path: widths_of(module) for path, module in model.named_modules() if has_widths(module)}


def module_at(model: nn.Module, path: str) -> nn.Module:
    """Return the module at a path, whichever of its names that is.

    Raises:
        UsageError: if there is none, or the path is empty.
    """
    try:
        if path:
            return model.get_submodule(path)
    except AttributeError:  # told of below
        pass
    raise UsageError(f"the network has no {path!r}, which is to be reduced in it: these steps are another network's")


def _changes(before: Widths, after: Widths) -> tuple[int, int, int]:
    inputs, outputs, groups = (new if new != old else 0 for old, new in zip(astuple(before), astuple(after), strict=True))
    return inputs, outputs, groups


def _narrow(layer: nn.Module, change: tuple[int, int, int], path: str) -> None:
    before = astuple(widths_of(layer))
    after = tuple(new or old for old, new in zip(before, change, strict=True))
    if any(new > old for old, new in zip(before, after, strict=True)):
        raise UsageError(f"{path} has widths {before}, and a step that reduces it would make them {after}")
    resize_(layer, Widths(*after))
