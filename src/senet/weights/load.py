"""Trained weights into networks, all or none."""

import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from senet.errors import UsageError
from senet.surgery.wrappers import load_tensors, plain_state, unwrap
from senet.text import printable
from senet.weights.bridge import Allowed, Bridged, bridge, check_head
from senet.weights.check import check_config, check_tensors, listed, mismatches
from senet.weights.fold_input import fold_input
from senet.weights.match import check_options, find_release, is_of_kind
from senet.weights.metadata import WeightsMetadata
from senet.weights.prefixes import common_prefix
from senet.weights.releases.library import Release
from senet.weights.source import OpenedWeights, Source
from senet.weights.stem import check_spread, spread_spec
from senet.weights.store import find_config, metadata_of

log = logging.getLogger("senet")


@dataclass(frozen=True)
class LoadReport:
    """Outcome of `load_weights`.

    Args:
        source: where the weights came from.
        tensors: how many tensors were loaded.
        numbers: how many numbers they hold.
        release: the library and its name for the network; None for files of this package.
        fresh: what was left as it was: the head, where the file's has another number of classes, and derived buffers that it lacks.
        dropped: the file's tensors that the network has no place for: buffers, the head of a headless network, what is not the network.
        adapted: the kernel that was spread over images of other channels.
    """

    source: str
    tensors: int
    numbers: int
    release: str | None = None
    fresh: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    adapted: str | None = None


def load_weights(
    model: nn.Module,
    source: str | Path | Mapping[str, Any],
    *,
    new_head: bool = False,
    input: Literal["rgb", "imagenet"] | None = None,  # noqa: A002
    adapt_input: Literal["repeat", "mean"] | None = "repeat",
) -> LoadReport:
    """Load weights into a network, all or none.

    Names are taken without what wrappers and training programs put before them. The log says what is left out, and what is left as it is.

    Args:
        model: the network to fill, in place; or a block, for files that hold one. Of what is compiled or wrapped, the network inside.
        source: a safetensors file or what `torch.save` wrote, a state dict or a training program's file around one, of this package or of
            another library (which is found out, or said as in "timm:file.pth"); an official .caffemodel; a release to fetch, such as
            "timm/legacy_seresnet50"; "hf:USER/REPO" on the Hugging Face hub; or a state dict in memory. Where a library has several
            releases of equal names and shapes, "pytorchcv/seresnet50b:file.pth" tells which. Where a file has several state dicts,
            averages over training are preferred, and "file.pth#ENTRY" tells which.
        new_head: leave the head as it is if the file has none, or one with another number of classes.
        input: the convention of images to change to, folded into the first convolution, see `senet.weights.fold_input`; None = the
            weights' own.
        adapt_input: how the first kernel is spread if the network's images have other channels than the file's: "repeat" takes the old
            channels in turn, "mean" their average, both scaled to the same sum; one channel gets the sum. None = refuse such a file.

    Returns:
        What was loaded. The network's `weights_metadata` holds the classes and the images that the weights expect.

    Raises:
        UsageError: if the file cannot be read, was made by another network or by one with other options (the error says how to build that
            one), or has other tensors.
    """
    check_spread(adapt_input)
    return load_opened(model, Source.parse(source).open(), Allowed(new_head, adapt_input), input=input)


def load_opened(
    model: nn.Module,
    opened: OpenedWeights,
    allowed: Allowed,
    *,
    input: Literal["rgb", "imagenet"] | None = None,  # noqa: A002
) -> LoadReport:
    """Do what `load_weights` does, with a file that is read already."""
    found, text, model = fit_weights(model, opened, allowed), opened.source.text, unwrap(model)
    network: Any = getattr(model, "headless", model)
    config, bridged, own = find_config(network), found.bridged, plain_state(network)
    load_tensors(network, bridged.tensors)
    head = tuple(name for name in bridged.fresh if not _is_buffer(network, name))
    metadata = replace(found.metadata, classes=None) if head else found.metadata
    metadata = _adapted(metadata, bridged, allowed)
    model.weights_metadata = network.weights_metadata = metadata  # pyright: ignore[reportArgumentType] - modules take any attribute
    classes = config.options.get("num_classes") if config else len(own[head[0]]) if head else None
    for remark in _remarks(text, found.view, bridged, classes, head, allowed):
        log.warning("%s: %s", config.name if config else type(network).__name__, printable(remark, 1000))
    if input is not None:
        change_input(network, input)
    loaded = {name: tensor for name, tensor in bridged.tensors.items() if name not in bridged.fresh}
    numbers = sum(tensor.numel() for tensor in loaded.values())
    dropped = (*found.view.beside, *bridged.dropped)
    return LoadReport(text, len(loaded), numbers, found.release, bridged.fresh, dropped, bridged.stem)


@dataclass(frozen=True)
class FittedWeights:
    """File of weights as a network takes it.

    Args:
        metadata: what is known of the weights.
        view: the file, with the names that fit.
        bridged: its tensors under the network's names.
        release: the library and its name for the network; None for files of this package.
    """

    metadata: WeightsMetadata
    view: OpenedWeights
    bridged: Bridged
    release: str | None


def fit_weights(model: nn.Module, opened: OpenedWeights, allowed: Allowed) -> FittedWeights:
    """Return how a file that is read already fits a network, which may be on the meta device; nothing is loaded.

    Raises:
        UsageError: as `load_weights` does.
    """
    text, model = opened.source.text, unwrap(model)
    network: Any = getattr(model, "headless", model)  # features are taken from a network without its head
    config = find_config(network)
    expected = partial(_expected_network, network)
    match = None if opened.is_native else find_release(opened, config.name if config else "", expected)
    own = plain_state(network)
    if match is None:
        metadata = opened.metadata
        if config is not None and metadata.config is not None:
            defaults = getattr(network, "option_defaults", None)
            check_config(text, metadata.config, config.to_dict(), defaults=defaults, ignore=_free_options(model, allowed))
        view, bridged = _own_view(opened, own, network, allowed)
    else:
        metadata, view = match.metadata(text), match.opened
        check_options(text, match, network)
        bridged = bridge(match.tensors, own, network, allowed)
    check_head(text, bridged.tensors, own, network)
    check_tensors(text, bridged.tensors, own)
    return FittedWeights(metadata, view, bridged, match.label if match else None)


def change_input(model: nn.Module, to: str) -> None:
    """Fold the images' convention that a network's weights expect into its first convolution, see `senet.weights.fold_input`.

    Args:
        model: a network of this package into which weights were loaded; changed in place, with its `weights_metadata`.
        to: "rgb" or "imagenet".

    Raises:
        UsageError: if the weights do not say what images they expect, or for another convention.
    """
    model = unwrap(model)
    metadata = metadata_of(model)
    if metadata.input is None:
        raise UsageError(f"{metadata.source!r} does not say what images it expects, so that there is nothing to fold into {to!r}")
    tensors, spec = fold_input(plain_state(model), metadata.input, to)
    load_tensors(model, tensors)
    model.weights_metadata = replace(metadata, input=spec)  # pyright: ignore[reportArgumentType] - modules take any attribute


def _expected_network(model: nn.Module, release: Release) -> nn.Module | None:
    """Return what a release's file should look like: the model, if that is a block of its kind, else the network that it is made for."""
    if not release.model:
        return model if is_of_kind(model, release) else None
    network: Any = model  # it has a configuration with the release's name, so it is a network of this package
    return network.outline(release.model, release.options)


def _own_view(opened: OpenedWeights, own: Mapping[str, Tensor], network: nn.Module, allowed: Allowed) -> tuple[OpenedWeights, Bridged]:
    """Return the file with the names that fit the network, or fit it best, and its tensors under those."""
    best: tuple[OpenedWeights, Bridged] | None = None
    fewest = math.inf
    for prefix in dict.fromkeys(("", common_prefix(own))):
        wanted = {name.removeprefix(prefix): tensor for name, tensor in own.items()}
        for view in opened.views():
            bridged = bridge(view.tensors, wanted, network, allowed).below(prefix)
            wrong = sum(map(len, mismatches(bridged.tensors, own).values()))
            if wrong < fewest:
                best, fewest = (view, bridged), wrong
            if not wrong:
                break
    assert best is not None
    return best


def _free_options(model: nn.Module, allowed: Allowed) -> tuple[str, ...]:
    """Return the options of a configuration that may differ: what is bridged, and what says nothing about a network's weights."""
    free = {"num_classes": allowed.new_head or hasattr(model, "headless"), "in_channels": allowed.adapt_input is not None}
    return (*(name for name, is_free in free.items() if is_free), *getattr(model, "beside_weights", ()))


def _is_buffer(network: nn.Module, name: str) -> bool:
    return name not in dict(network.named_parameters())


def _adapted(metadata: WeightsMetadata, bridged: Bridged, allowed: Allowed) -> WeightsMetadata:
    """Return the metadata with what is known of the images, for the channels that the kernel was spread over."""
    if bridged.stem is None or metadata.input is None or allowed.adapt_input is None:
        return metadata
    return replace(metadata, input=spread_spec(metadata.input, bridged.channels[1], allowed.adapt_input))


def _remarks(
    text: str, view: OpenedWeights, bridged: Bridged, classes: int | None, head: tuple[str, ...], allowed: Allowed
) -> Iterator[str]:
    """Yield a line for everything in which a file and its network differ."""
    if view.beside:
        yield f"the weights below {view.prefix!r} are loaded, and {len(view.beside)} tensors beside are left out: {listed(view.beside)}"
    if bridged.dropped:
        yield f"{len(bridged.dropped)} tensors have no place in it and are left out: {listed(bridged.dropped)}"
    if kept := [name for name in bridged.fresh if name not in head]:
        yield f"{len(kept)} buffers stay as they are, since the file lacks them: {listed(kept)}"
    if bridged.stem is not None:
        old, new = bridged.channels
        yield f"{bridged.stem} is spread from {old} to {new} channels (adapt_input={allowed.adapt_input!r})"
    if head:
        yield f"the head is new, for {classes} classes; all else is loaded from {text}"
