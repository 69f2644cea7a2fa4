"""The networks that released weights are for, built to find out which release a file holds, or with the options that one needs."""

from collections.abc import Mapping
from typing import Any

import torch

from senet.errors import UsageError
from senet.models.network import Network
from senet.models.registry import PLAIN, build_model, split_name
from senet.spec import BlockSpec, Recalibration
from senet.weights.match import Match, find_release, is_evident, pick_release, plain, translations
from senet.weights.releases.library import Release
from senet.weights.source import OpenedWeights

outlines: dict[tuple[str, str], Network] = {}
"""Networks on the meta device, by name and options."""


def identify(opened: OpenedWeights) -> Match:
    """Return the release that a file holds, whichever network that is.

    Raises:
        UsageError: if none fits, or several that differ.
    """
    text = opened.source.text
    found = ([match for match in translations(view, _outline_of) if match.fits() and is_evident(match)] for view in opened.views())
    fitting = next((matches for matches in found if matches), [])
    if not fitting:
        raise UsageError(
            f"{text!r} does not say which network it fits; create_model(name, weights={text!r}) loads it into a named one, "
            "and 'LIBRARY:FILE' says whose it is"
        )
    match = pick_release(opened, fitting)
    if not match.num_classes:
        raise UsageError(
            f"{text!r} holds {match.label} without its head; create_model({match.release.model!r}, weights={text!r}, num_classes=N) "
            "gives it a new one, and features_only=True none"
        )
    return match


def needed_options(opened: OpenedWeights, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with which a network of the registry must be built for these weights.

    Raises:
        UsageError: if the user gave another value for one of them, or no release fits.
    """
    match = None if opened.is_native else find_release(opened, full_name(name, given["block"]), _outline_of)
    if match is None:
        return {}
    needed = dict(match.release.options)
    chosen = {option: value for option, value in given.items() if option != "block" or isinstance(value, BlockSpec)}
    if wrong := [option for option, value in needed.items() if chosen.get(option, value) != value]:
        option = wrong[0]
        raise UsageError(f"{match.label} needs {option}={plain(needed[option])!r}, got {plain(given[option])!r}; leave it out")
    return needed


def full_name(name: str, block: object) -> str:
    """Return the name that a network has with a block: "se_resnet50" for "resnet50" with block "se"."""
    kind, without = split_name(name)
    if PLAIN[without].block is not None or block == "auto":
        return name
    kind = block.kind if isinstance(block, BlockSpec) else block
    return f"{kind}_{without}" if isinstance(kind, str) else without


def build_released(
    name: str,
    options: Mapping[str, Any],
    *,
    num_classes: int | None = None,
    in_channels: int = 3,
    device: torch.device | str | None = None,
) -> Network:
    """Build the network that a release names, with the options that it needs: a block among them stands for the name's own."""
    name = split_name(name)[1] if "block" in options else name
    others = {option: value for option, value in options.items() if option != "block"}
    recalibration = Recalibration(options.get("block", "auto"))
    return build_model(name, recalibration, num_classes=num_classes, in_channels=in_channels, device=device, **others)


def outline(name: str, options: Mapping[str, Any]) -> Network:
    """Return the network that a release names without its numbers, built once: there are a hundred releases, and many share one."""
    key = (name, repr(sorted(options.items())))
    if key not in outlines:
        outlines[key] = build_released(name, options, device="meta")
    return outlines[key]


def _outline_of(release: Release) -> Network | None:
    """Return what a network's file should look like; files of blocks alone fit no network."""
    return outline(release.model, release.options) if release.model else None
