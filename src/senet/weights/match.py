"""Which release of another library a file of weights holds, and whether a network was built as that release needs.

A file is held against what each release should look like, a network without numbers or a block: who asks says how to get one, see `Like`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from senet.blocks.kinds import is_block
from senet.errors import UsageError
from senet.spec import BlockSpec, block_class, options_of
from senet.weights import imagenet
from senet.weights.bridge import Allowed, bridge, channels_of
from senet.weights.check import MisfitError, differences, mismatch_error, mismatches, short
from senet.weights.metadata import WeightsMetadata
from senet.weights.releases.library import Library, Release, Tensors, rename
from senet.weights.source import OpenedWeights
from senet.weights.store import find_config

TRAINING_ONLY = ("num_classes", "in_channels", "dropout", "zero_init_residual")
"""Options that trained weights do not depend on, or whose effect their shapes show."""

ANY_ENDS = Allowed(new_head=True)
"""What may differ between a release and a file of it: the head and the images' channels, which are the user's choice."""

Like = Callable[[Release], nn.Module | None]
"""Gives the module whose names and shapes a release's tensors have: our network on the meta device, or a block; None if there is none."""


@dataclass(frozen=True)
class Match:
    """Release that a file was translated by.

    Args:
        release: the release.
        library: who made it.
        like: our network, on the meta device, with the options that the release needs; or the block to fill.
        tensors: the file's, under our names.
        opened: the file, with the names that the release gives to its tensors.
    """

    release: Release
    library: Library
    like: nn.Module
    tensors: Tensors
    opened: OpenedWeights

    @property
    def label(self) -> str:
        """The library and its name for the network, as users write them."""
        return f"{self.library.name}/{self.release.name}"

    @property
    def head(self) -> str | None:
        """Path of the network's last layer; None for blocks."""
        return self.like.head if self.release.model else None  # pyright: ignore[reportReturnType] - a network of this package

    @property
    def num_classes(self) -> int:
        """Classes of the file's head; 0 if it has none."""
        weight = self.tensors.get(f"{self.head}.weight")
        return 0 if weight is None else weight.shape[0] - getattr(self.like, "background", 0)

    @property
    def in_channels(self) -> int:
        """Channels of the images that the file is for."""
        return bridge(self.tensors, self.like.state_dict(), self.like, ANY_ENDS).channels[0] or channels_of(self.like) or 0

    def fits(self) -> bool:
        """Return whether the file has the names and, but for the head's width and the images' channels, the shapes of the release."""
        wanted = self.like.state_dict()
        return not any(mismatches(bridge(self.tensors, wanted, self.like, ANY_ENDS).tensors, wanted).values())

    def metadata(self, source: str) -> WeightsMetadata:
        """Return what is known of the release's images and classes."""
        config = find_config(self.like)
        is_imagenet = config is not None and config.options["num_classes"] == self.num_classes == 1000
        return WeightsMetadata(source, classes=imagenet.class_names() if is_imagenet else None, input=self.release.input)


def find_release(opened: OpenedWeights, name: str, like: Like) -> Match | None:
    """Return the release of our network `name` that a file holds; None if the file may be of our own making.

    Args:
        opened: the file.
        name: a name of the registry; "" for a block.
        like: gives what a release should look like.

    Raises:
        UsageError: if the library that the user names has no such network, if no release fits, or several that differ.
    """
    candidates: list[Match] = []
    fitting: list[Match] = []
    for view in opened.views():
        found = translations(view, like, name)
        candidates = candidates or (found if not view.prefix else [])
        fitting = [match for match in found if match.fits() and is_evident(match)]
        if fitting:
            break
    if not fitting and opened.source.library is not None:
        raise _no_match_error(opened.source.library, opened, name, candidates)
    return pick_release(opened, fitting) if fitting else None


def translations(opened: OpenedWeights, like: Like, name: str | None = None) -> list[Match]:
    """Return the file as if it were each release's that has its names; `name` keeps the releases of one network of ours."""
    found = (_translation(opened, library, release, like) for library, release in opened.releases(name))
    return [match for match in found if match is not None]


def _translation(opened: OpenedWeights, library: Library, release: Release, like: Like) -> Match | None:
    if bool(release.rules) != any(rename(name, release.rules) != name for name in opened.tensors):
        return None
    module = like(release)
    if module is None:
        return None
    try:
        return Match(release, library, module, release.translate(opened.tensors, module.state_dict()), opened)
    except UsageError:
        return None


def is_evident(match: Match) -> bool:
    """Return whether the user or the file says whose it is: tensors with our names and shapes do not."""
    digest, opened = match.release.digest, match.opened
    if opened.source.library is not None or (digest and digest in opened.path.name):
        return True
    return any(name not in opened.tensors or opened.tensors[name].shape != tensor.shape for name, tensor in match.tensors.items())


def pick_release(opened: OpenedWeights, fitting: list[Match]) -> Match:
    """Return one of the releases with equal names and shapes: the one that the file is named after, if the others need other options.

    Raises:
        UsageError: if the file's name does not tell.
    """
    file = opened.path.name
    named = [match for match in fitting if match.release.digest and match.release.digest in file]
    named = named or [match for match in fitting if file.partition(".")[0].partition("-")[0] == match.release.name]
    chosen = named or fitting
    if all(match.release.options == chosen[0].release.options for match in chosen):
        return chosen[0]
    choices = "; ".join(f"'{match.label}:FILE' ({_listed(match.release.options)})" for match in fitting)
    raise UsageError(f"{opened.source.text!r} fits several networks, which tensors cannot tell apart; say which: {choices}")


def check_options(text: str, match: Match, model: nn.Module) -> None:
    """Raise UsageError if a network or a block was built with other options than a release needs; `text` is what errors call the file."""
    config = find_config(match.like)
    if not match.release.model or config is None:
        _check_block(text, match, model)
        return
    needed, own = config.options, find_config(model).options
    differ = differences(needed, own, (*TRAINING_ONLY, *getattr(model, "beside_weights", ()), "block"))
    same_blocks = _behaviour(needed["block"]) == _behaviour(own["block"]) and _block_shapes(match.like) == _block_shapes(model)
    if needed["block"] != own["block"] and not same_blocks:
        differ.append("block")
    if differ:
        wanted = ", ".join(f"{option}={plain(needed[option])!r} (here {short(plain(own[option]))})" for option in differ)
        raise UsageError(
            f"{text!r} holds {match.label}, which needs {wanted}; "
            f"create_model({match.release.model!r}, weights={text!r}) builds the right network"
        )


def is_of_kind(block: nn.Module, release: Release) -> bool:
    """Return whether a block is of the kind that a release's is, where that says."""
    spec = release.options.get("block")
    return spec is None or isinstance(block, block_class(spec.kind))


def plain(value: object) -> object:
    """Return an option as plain data."""
    return value.to_dict() if isinstance(value, BlockSpec) else value


def _no_match_error(library: Library, opened: OpenedWeights, name: str, candidates: list[Match]) -> MisfitError:
    """Return the error for a file that is not what the user says: the library has no such network, or the tensors are others."""
    if not candidates and name and any(release.model == name for release in library.releases):
        return MisfitError(
            f"{opened.source.text!r} does not have the names that {library.name} gives to the tensors of {name}; "
            f"{str(opened.path)!r} alone finds out whose it is"
        )
    if not candidates:
        known = sorted({release.model or f"the block {release.name}" for release in library.releases})
        return MisfitError(f"no weights of {library.name} fit {name or 'this module'}; they fit: {', '.join(known)}")
    states = [(match.tensors, match.like.state_dict()) for match in candidates]
    given, wanted = min(states, key=lambda pair: sum(map(len, mismatches(*pair).values())))
    return mismatch_error(opened.source.text, given, wanted)


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


def _listed(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in options.items()) or "no options"
