"""Trained weights into networks: which release a file holds, whether it fits, and what it says about images and classes."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from senet.blocks.kinds import is_block
from senet.errors import UsageError
from senet.models.classifier import Classifier
from senet.models.registry import PLAIN, build_model, split_name
from senet.spec import BlockSpec, block_class, options_of
from senet.weights import imagenet
from senet.weights.check import check_config, check_tensors, differences, misfit, mismatches, short
from senet.weights.fold_input import fold_input
from senet.weights.releases.library import Release, Tensors, rename
from senet.weights.source import OpenedWeights, Source
from senet.weights.store import WeightsMetadata, config_of, metadata_of

TRAINING_ONLY = ("num_classes", "in_channels", "dropout", "zero_init_residual")
"""Options that trained weights do not depend on, or whose effect their shapes show."""

outlines: dict[tuple[str, str], Classifier] = {}
"""Networks on the meta device, by name and options."""

log = logging.getLogger("senet")


@dataclass(frozen=True)
class LoadReport:
    """Say what `load_weights` loaded.

    Args:
        source: where the weights came from.
        tensors: how many tensors were loaded.
        numbers: how many numbers they hold.
        release: the library and its name for the network; None for files of this package.
        fresh: what was left as it was: the head, where the file's has another number of classes.
        note: what a user should know.
    """

    source: str
    tensors: int
    numbers: int
    release: str | None = None
    fresh: tuple[str, ...] = ()
    note: str | None = None


@dataclass(frozen=True)
class Match:
    """Hold a release that a file fits.

    Args:
        release: the release.
        label: its library and name.
        network: ours, on the meta device, with the options that the release needs; None for blocks.
        tensors: the file's, under our names.
    """

    release: Release
    label: str
    network: Classifier | None
    tensors: Tensors

    @property
    def num_classes(self) -> int:
        """Width of the file's head."""
        assert self.network is not None
        return self.tensors[f"{self.network.head}.weight"].shape[0]

    def metadata(self, source: str) -> WeightsMetadata:
        """Return what is known of the release's images and classes."""
        is_imagenet = self.network is not None and self.network.config.options["num_classes"] == self.num_classes == 1000
        return WeightsMetadata(source, classes=imagenet.class_names() if is_imagenet else None, input=self.release.input)


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
    text = opened.source.text
    own = model.state_dict()
    config = config_of(model)
    match = None if opened.is_native else find_release(opened, config.name if config else "", model)
    if match is None:
        tensors, metadata = opened.tensors, opened.metadata
        if config is not None and metadata.config is not None:
            check_config(text, metadata.config, config.to_dict(), ignore=("num_classes",) if new_head else ())
    else:
        tensors, metadata = match.tensors, match.metadata(text)
        _check_options(text, match, model)
    fresh = _kept_head(model, tensors, own) if new_head else ()
    if fresh:
        tensors, metadata = tensors | {name: own[name] for name in fresh}, replace(metadata, classes=None)
        log.warning("%s: the head is new, for %d classes; all else is loaded from %s", config and config.name, len(own[fresh[0]]), text)
    check_tensors(text, tensors, own)
    model.load_state_dict(tensors)
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
    metadata = metadata_of(model)
    if metadata.input is None:
        raise UsageError(f"{metadata.source!r} does not say what images it expects, so that there is nothing to fold into {to!r}")
    tensors, spec = fold_input(model.state_dict(), metadata.input, to)
    model.load_state_dict(tensors)
    model.weights_metadata = replace(metadata, input=spec)  # pyright: ignore[reportArgumentType] - modules take any attribute


def needed_options(opened: OpenedWeights, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with which a network of the registry must be built for these weights.

    Raises:
        UsageError: if the user gave another value for one of them, or no release fits.
    """
    if opened.is_native:
        return {}
    match = find_release(opened, full_name(name, given["block"]), None)
    if match is None:
        return {}
    needed = dict(match.release.options)
    chosen = {option: value for option, value in given.items() if option != "block" or isinstance(value, BlockSpec)}
    if wrong := [option for option, value in needed.items() if chosen.get(option, value) != value]:
        option = wrong[0]
        raise UsageError(f"{match.label} needs {option}={_plain(needed[option])!r}, got {_plain(given[option])!r}; leave it out")
    return needed


def identify(opened: OpenedWeights) -> Match:
    """Return the release that a file holds, whichever network that is.

    Raises:
        UsageError: if none fits, or several that differ.
    """
    text = opened.source.text
    attempts = [_attempt(opened, library.name, release, None) for library, release in opened.releases() if release.model]
    fitting = [match for match in attempts if match is not None and _fits(match, None) and _is_evident(opened, match)]
    if not fitting:
        raise UsageError(
            f"{text!r} does not say which network it fits; create_model(name, weights={text!r}) loads it into a named one, "
            "and 'LIBRARY:FILE' says whose it is"
        )
    return _only(opened, fitting)


def _is_evident(opened: OpenedWeights, match: Match) -> bool:
    """Return whether the user or the file says whose it is: tensors with our names and shapes do not."""
    digest = match.release.digest
    if opened.source.library is not None or (digest and digest in opened.path.name):
        return True
    return any(name not in opened.tensors or opened.tensors[name].shape != tensor.shape for name, tensor in match.tensors.items())


def full_name(name: str, block: object) -> str:
    """Return the name that a network has with a block: "se_resnet50" for "resnet50" with block "se"."""
    kind, plain = split_name(name)
    if PLAIN[plain].block is not None or block == "auto":
        return name
    kind = block.kind if isinstance(block, BlockSpec) else block
    return f"{kind}_{plain}" if isinstance(kind, str) else plain


def find_release(opened: OpenedWeights, name: str, block: nn.Module | None) -> Match | None:
    """Return the release of our network `name` that a file holds; None if the file may be of our own making.

    Args:
        opened: the file.
        name: a name of the registry; "" for a block.
        block: the block to fill, where `name` is "".

    Raises:
        UsageError: if the library that the user names has no such network, if no release fits, or several that differ.
    """
    attempts = [_attempt(opened, library.name, release, block) for library, release in opened.releases(name)]
    candidates = [match for match in attempts if match is not None]
    fitting = [match for match in candidates if _fits(match, block) and _is_evident(opened, match)]
    if not fitting and opened.source.library is not None:
        raise _misfit(opened, name, candidates, block)
    return _only(opened, fitting) if fitting else None


def _attempt(opened: OpenedWeights, library: str, release: Release, block: nn.Module | None) -> Match | None:
    """Translate the file as if it were this release's; None if it does not have the library's names."""
    if bool(release.rules) != any(rename(name, release.rules) != name for name in opened.tensors):
        return None
    network = _outline(release) if release.model else None
    like = _of_kind(block, release) if network is None else network
    if like is None:
        return None
    try:
        tensors = release.translate(opened.tensors, like.state_dict())
    except UsageError:
        return None
    return Match(release, f"{library}/{release.name}", network, tensors)


def network_of(release: Release, *, device: torch.device | str | None = "meta", num_classes: int | None = None) -> Classifier:
    """Build our network of a release, with the options that it needs."""
    name = split_name(release.model)[1] if "block" in release.options else release.model
    return build_model(name, num_classes=num_classes, device=device, **release.options)


def _of_kind(block: nn.Module | None, release: Release) -> nn.Module | None:
    """Return a block if it is of the kind that a release's is, where that says."""
    spec = release.options.get("block")
    return block if spec is None or isinstance(block, block_class(spec.kind)) else None


def _outline(release: Release) -> Classifier:
    """Return our network of a release without its numbers; there are a hundred releases, and many share one."""
    key = (release.model, repr(sorted(release.options.items())))
    if key not in outlines:
        outlines[key] = network_of(release)
    return outlines[key]


def _fits(match: Match, block: nn.Module | None) -> bool:
    """Return whether a file has the names and, but for the head's width, the shapes of a release."""
    like = block if match.network is None else match.network
    assert like is not None
    wanted = like.state_dict()
    head = () if match.network is None else tuple(f"{match.network.head}.{part}" for part in ("weight", "bias"))
    same_width = {name: wanted[name] if name in head and name in wanted else tensor for name, tensor in match.tensors.items()}
    return not any(mismatches(same_width, wanted).values())


def _only(opened: OpenedWeights, fitting: list[Match]) -> Match:
    """Choose among releases with equal names and shapes: the one that the file is named after, if the others need other options."""
    file = opened.path.name
    named = [match for match in fitting if match.release.digest and match.release.digest in file]
    named = named or [match for match in fitting if file.partition(".")[0].partition("-")[0] == match.release.name]
    chosen = named or fitting
    if all(match.release.options == chosen[0].release.options for match in chosen):
        return chosen[0]
    choices = "; ".join(f"'{match.label}:FILE' ({_listed(match.release.options)})" for match in fitting)
    raise UsageError(f"{opened.source.text!r} fits several networks, which tensors cannot tell apart; say which: {choices}")


def _misfit(opened: OpenedWeights, name: str, candidates: list[Match], block: nn.Module | None) -> UsageError:
    """Return the error for a file that is not what the user says: the library has no such network, or the tensors are others."""
    library = opened.source.library
    assert library is not None
    if not candidates and name and any(release.model == name for release in library.releases):
        return UsageError(
            f"{opened.source.text!r} does not have the names that {library.name} gives to the tensors of {name}; "
            f"{str(opened.path)!r} alone finds out whose it is"
        )
    if not candidates:
        known = sorted({release.model or f"the block {release.name}" for release in library.releases})
        return UsageError(f"no weights of {library.name} fit {name or 'this module'}; they fit: {', '.join(known)}")
    pairs = [(match.tensors, (match.network or block)) for match in candidates]
    states = [(tensors, like.state_dict()) for tensors, like in pairs if like is not None]
    given, wanted = min(states, key=lambda pair: sum(map(len, mismatches(*pair).values())))
    return misfit(opened.source.text, given, wanted)


def _check_options(text: str, match: Match, model: nn.Module) -> None:
    """Raise UsageError if a network or a block was built with other options than a release needs."""
    if match.network is None:
        _check_block(text, match, model)
        return
    needed, own = match.network.config.options, config_of(model).options
    differ = differences(needed, own, (*TRAINING_ONLY, "block"))
    same_blocks = _behaviour(needed["block"]) == _behaviour(own["block"]) and _block_shapes(match.network) == _block_shapes(model)
    if needed["block"] != own["block"] and not same_blocks:
        differ.append("block")
    if differ:
        wanted = ", ".join(f"{option}={_plain(needed[option])!r} (here {short(_plain(own[option]))})" for option in differ)
        raise UsageError(
            f"{text!r} holds {match.label}, which needs {wanted}; "
            f"create_model({match.release.model!r}, weights={text!r}) builds the right network"
        )


def _check_block(text: str, match: Match, block: nn.Module) -> None:
    """Raise UsageError if a block computes otherwise than a release's."""
    spec = match.release.options.get("block")
    needed, own = _behaviour(spec), _behaviour(block)
    if spec is not None and needed != own:
        wanted = ", ".join(f"{option}={needed[option]!r} (here {own[option]!r})" for option in differences(needed, own))
        raise UsageError(f"{text!r} holds {match.label}, which needs {wanted}; build the block with that option")


def _behaviour(block: Any) -> dict[str, Any]:
    """Return the options of a spec or a block that its tensors do not show."""
    if isinstance(block, BlockSpec):
        stateless = block_class(block.kind).stateless_options
        return {option: block.options.get(option, options_of(block.kind)[option].default) for option in stateless}
    return {option: getattr(block, name) for option, name in block.stateless_options.items()} if is_block(block) else {}


def _block_shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in model.state_dict().items() if ".se." in name}


def _plain(value: object) -> object:
    return value.to_dict() if isinstance(value, BlockSpec) else value


def _kept_head(model: nn.Module, tensors: Tensors, own: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Return the names of the head's tensors if the file's have another number of classes."""
    head = getattr(model, "head", None)
    names = tuple(name for name in own if isinstance(head, str) and name.startswith(f"{head}."))
    return names if any(name in tensors and tensors[name].shape != own[name].shape for name in names) else ()


def _listed(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in options.items()) or "no options"
