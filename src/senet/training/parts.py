"""The parts of a network in fine-tuning: its head, its recalibration blocks, and the host, which is everything else."""

from collections.abc import Mapping
from typing import Any, Literal

from torch import nn

from senet.blocks.kinds import modules_of_blocks
from senet.weights.bridge import HEADS

Part = Literal["head", "blocks", "host"]

TRAINED_PARTS: tuple[Part, ...] = ("head", "blocks", "host")

USUAL_HEADS = (*((name,) for name in HEADS), ("segmentation_head",), ("roi_heads.box_predictor", "roi_heads.mask_predictor"))
"""Paths under which networks that do not name their head have it: of classifiers, of segmentation_models_pytorch, of R-CNNs."""


SAID = ("class_layers", "head")
"""Attributes by which a network names its head."""


def head_paths(model: nn.Module) -> list[str]:
    """Return the paths of the modules of a network's head; of none if it does not say and none has a usual name.

    A network says it by `class_layers` (detectors do: the layers whose width is that of the classes) or `head`, a path or several, or as
    timm's do by `pretrained_cfg["classifier"]`; else it is the first of `USUAL_HEADS` that it has.
    """
    facts: Any = model
    declared = getattr(facts, "pretrained_cfg", None)
    stated = declared.get("classifier") if isinstance(declared, Mapping) else None
    said = [[word] if isinstance(word, str) else word for word in (*(getattr(facts, name, None) for name in SAID), stated)]
    words = [word for word in said if isinstance(word, list | tuple) and all(isinstance(path, str) for path in word)]
    return next((found for word in (*words, *USUAL_HEADS) if (found := [path for path in word if _has_parameters(model, path)])), [])


def module_parts(model: nn.Module) -> dict[nn.Module, Part]:
    """Return the part of every module of a network; all that is in a block belongs to the blocks, in the head too."""
    heads = head_paths(model)
    blocks = modules_of_blocks(model)
    found: dict[nn.Module, Part] = {}
    for path, module in model.named_modules():
        part: Part = "blocks" if module in blocks else "head" if any(is_within(path, head) for head in heads) else "host"
        found[module] = part
    return found


def parameter_parts(model: nn.Module) -> dict[str, Part]:
    """Return the part of every parameter of a network by its name; one that modules of several parts share is of the first part."""
    owners: dict[nn.Parameter, Part] = {}
    for module, part in module_parts(model).items():
        for parameter in module.parameters(recurse=False):
            others = (part, owners.get(parameter, part))
            owners[parameter] = next(first for first in TRAINED_PARTS if first in others)
    return {name: owners[parameter] for name, parameter in model.named_parameters()}


def is_within(path: str, outer: str) -> bool:
    """Return whether a path is that of a module, or of something in it."""
    return path == outer or path.startswith(f"{outer}.")


def _has_parameters(model: nn.Module, path: str) -> bool:
    try:
        return any(True for _ in model.get_submodule(path).parameters())
    except AttributeError:
        return False
