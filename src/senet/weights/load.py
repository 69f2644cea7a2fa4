"""Trained weights into networks, all or none."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from senet.errors import UsageError
from senet.surgery.wrappers import load_tensors, plain_state, unwrap
from senet.weights.check import check_config, check_tensors
from senet.weights.fold_input import fold_input
from senet.weights.match import check_options, find_release, is_of_kind
from senet.weights.releases.library import Release, Tensors
from senet.weights.source import OpenedWeights, Source
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
        fresh: what was left as it was: the head, where the file's has another number of classes.
    """

    source: str
    tensors: int
    numbers: int
    release: str | None = None
    fresh: tuple[str, ...] = ()


def load_weights(
    model: nn.Module,
    source: str | Path,
    *,
    new_head: bool = False,
    input: Literal["rgb", "imagenet"] | None = None,  # noqa: A002
) -> LoadReport:
    """Load weights into a network, all or none.

    Args:
        model: the network to fill, in place; or a block, for files that hold one.
        source: a safetensors file or a state dict that `torch.save` wrote, of this package or of another library (which is found out, or
            said as in "timm:file.pth"); an official .caffemodel; a release to fetch, such as "timm/legacy_seresnet50"; or "hf:USER/REPO" on
            the Hugging Face hub. Where a library has several releases of equal names and shapes, "pytorchcv/seresnet50b:file.pth" tells
            which.
        new_head: leave the head as it is if the file's has another number of classes.
        input: the convention of images to change to, folded into the first convolution, see `senet.weights.fold_input`; None = the
            weights' own.

    Returns:
        What was loaded. The network's `weights_metadata` holds the classes and the images that the weights expect.

    Raises:
        UsageError: if the file cannot be read, was made by another network or by one with other options (the error says how to build that
            one), or has other tensors.
    """
    return load_opened(model, Source.parse(source).open(), new_head=new_head, input=input)


def load_opened(
    model: nn.Module,
    opened: OpenedWeights,
    *,
    new_head: bool = False,
    input: Literal["rgb", "imagenet"] | None = None,  # noqa: A002
) -> LoadReport:
    """Do what `load_weights` does, with a file that is read already."""
    text, model = opened.source.text, unwrap(model)
    own = plain_state(model)
    config = find_config(model)
    expected = partial(_expected_network, model)
    match = None if opened.is_native else find_release(opened, config.name if config else "", expected)
    if match is None:
        tensors, metadata = opened.tensors, opened.metadata
        if config is not None and metadata.config is not None:
            check_config(text, metadata.config, config.to_dict(), ignore=("num_classes",) if new_head else ())
    else:
        tensors, metadata = match.tensors, match.metadata(text)
        check_options(text, match, model)
    fresh = _kept_head(model, tensors, own) if new_head else ()
    if fresh:
        tensors, metadata = tensors | {name: own[name] for name in fresh}, replace(metadata, classes=None)
        log.warning("%s: the head is new, for %d classes; all else is loaded from %s", config and config.name, len(own[fresh[0]]), text)
    check_tensors(text, tensors, own)
    load_tensors(model, tensors)
    model.weights_metadata = metadata  # pyright: ignore[reportArgumentType] - modules take any attribute
    if input is not None:
        change_input(model, input)
    loaded = {name: tensor for name, tensor in tensors.items() if name not in fresh}
    return LoadReport(text, len(loaded), sum(t.numel() for t in loaded.values()), match.label if match else None, fresh)


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


def _kept_head(model: nn.Module, tensors: Tensors, own: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Return the names of the head's tensors if the file's have another number of classes."""
    head = getattr(model, "head", None)
    names = tuple(name for name in own if isinstance(head, str) and name.startswith(f"{head}."))
    return names if any(name in tensors and tensors[name].shape != own[name].shape for name in names) else ()
