"""Networks of other libraries and of users, by name: timm/NAME, torchvision/NAME, path/to/file.py:factory."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from senet.errors import UsageError, reason_of
from senet.insertion.apply import apply
from senet.insertion.history import set_plans
from senet.insertion.insert import insert
from senet.insertion.plan import InsertPlan
from senet.models.libraries import LIBRARIES, from_file
from senet.models.network import ModelConfig
from senet.spec import BlockSpec, Recalibration
from senet.text import printable
from senet.userfile import in_user_file, may_run
from senet.weights.bridge import Allowed
from senet.weights.load import load_opened
from senet.weights.remote import fetching
from senet.weights.source import Source

INSERTION_OPTIONS = ("init", "existing", "at", "parts")
"""Options of a recipe's model that go to `senet.insert`; all others go to the library or the factory."""

RGB = 3
"""Channels of the images that the libraries' trained networks take."""

PRETRAINED = "pretrained"
"""The option that asks a library for trained weights; such a network gets its blocks by init="identity" unless told otherwise."""


ORIGINS = (
    *("checkpoint_path", "weights_backbone", "pretrained_backbone", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained_strict"),
    *("cache_dir", "progress", "device", "dtype", "scriptable", "exportable", "no_jit"),
)
"""Options that say where trained weights come from, where the network is put and how it is compiled; they are not written down."""

_made: set[str] = set()


def is_foreign(name: str) -> bool:
    """Return whether a name means a network from outside this package."""
    return in_user_file(name) or name.partition("/")[0] in LIBRARIES


def create_foreign(
    name: str,
    recalibration: Recalibration,
    *,
    num_classes: int | None = None,
    in_channels: int = 3,
    device: torch.device | str | None = None,
    adapt_input: str | None = "repeat",
    **options: Any,
) -> nn.Module:
    """Create a network of another library or of a user's file, plain or with blocks inserted.

    Args:
        name: timm/NAME, torchvision/NAME or path/to/file.py:factory. Only the last runs a user's code.
        recalibration: what is inserted, and where, see `senet.find_sites`; block None or "auto" = nothing, as the library makes it.
        num_classes: width of the head; None = what the library or factory has.
        in_channels: channels of the images.
        device: where to put it.
        adapt_input: how the first kernel of trained weights is spread over other channels than 3, see `senet.load_weights`.
        options: `init`, `existing`, `at` and `parts` of `senet.insert`; `pretrained`, True or for torchvision the name of weights; the rest
            is the library's or the factory's own.

    Raises:
        UsageError: for an unknown name, a library that is not installed, options that it does not take, or an insertion that is impossible.
    """
    resolved = _resolved(name, recalibration)
    spec, placement, stages = resolved.block, resolved.placement, resolved.stages
    own = {key: value for key, value in options.items() if key not in INSERTION_OPTIONS}
    is_spread = bool(own.get(PRETRAINED)) and in_channels != RGB and not in_user_file(name)
    model = _spread(name, num_classes, in_channels, own, adapt_input) if is_spread else build_foreign(name, num_classes, in_channels, own)
    config = {"num_classes": num_classes, "in_channels": in_channels, "block": spec, "placement": placement, "stages": stages}
    described = without_origins(name, options)
    _describe(model, ModelConfig(name, config | described), in_channels)
    _made.add(_hyperparameters(name, described))
    if isinstance(spec, BlockSpec):
        chosen: dict[str, Any] = {key: options[key] for key in INSERTION_OPTIONS if key in options}
        if own.get(PRETRAINED):
            chosen = {"init": "identity"} | chosen
        insert(model, spec, placement=placement, stages=stages, **chosen)
    return model if device is None else model.to(device)


def foreign_from_config(config: Mapping[str, Any], *, device: torch.device | str | None = None, plain: bool = False) -> nn.Module:
    """Create the network that `ModelConfig.to_dict()` describes, with the blocks that its plans put in, or (`plain`) without.

    Trained weights are not fetched again: those of the checkpoint follow.

    Raises:
        UsageError: if a user's file makes the network and was not named in this process: a checkpoint alone runs no code.
    """
    name, options = config["name"], dict(config["options"])
    refuse_unnamed(name)
    plans = options.pop("inserted", ())
    fixed = {key: options.pop(key) for key in ("num_classes", "in_channels", "block", "placement", "stages")}
    own = {key: value for key, value in without_origins(name, options).items() if key not in (*INSERTION_OPTIONS, PRETRAINED)}
    outlined = device is not None and torch.device(device).type == "meta"
    model = (outline_foreign if outlined else build_foreign)(name, fixed["num_classes"], fixed["in_channels"], own)
    block = fixed["block"] if plain or fixed["block"] is None else BlockSpec.from_saved(fixed["block"])
    stages = fixed["stages"] if fixed["stages"] is None else tuple(fixed["stages"])
    described = fixed | options | {"block": None if plain else block, "stages": stages}
    _describe(model, ModelConfig(name, described), fixed["in_channels"])
    model = model if plain else inserted(model, plans)
    return model if device is None else model.to(device)


def refuse_unnamed(name: str) -> None:
    """Raise UsageError if a user's file makes the network of this name and was not named in this process."""
    if in_user_file(name) and not may_run(name):
        raise UsageError(
            f"these weights fit a network from {printable(name)}, and a file of weights is no reason to run that code: build the network "
            "yourself, senet.insert(network, plan) the plan of its metadata, and senet.load_weights(network, file)"
        )


def without_origins(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options without `ORIGINS`; in a user's file those names may mean anything, and stay."""
    return {key: value for key, value in options.items() if in_user_file(name) or key not in ORIGINS}


def was_made(config: Mapping[str, Any]) -> bool:
    """Return whether this process was asked to make a network with the hyperparameters of this configuration."""
    return _hyperparameters(config["name"], config["options"]) in _made


def inserted(model: nn.Module, plans: Iterable[Mapping[str, Any]]) -> nn.Module:
    """Carry out the plans that a configuration holds, without proving them again."""
    done = [apply(model, InsertPlan.from_dict(plan), proof=False) for plan in plans]
    set_plans(model, done)
    return model


def _resolved(name: str, recalibration: Recalibration) -> Recalibration:
    if recalibration.block not in (None, "auto"):
        return recalibration.with_block(recalibration.block)
    if recalibration.reduction is not None:
        raise UsageError(f"reduction={recalibration.reduction} needs a block: {name} is plain without block=, such as block='se'")
    if recalibration.stages is not None or recalibration.placement != "standard":
        raise UsageError(f"{name} is plain: stages and placement need a block, e.g. block='se'")
    return Recalibration(None)


def _describe(model: nn.Module, config: ModelConfig, in_channels: int) -> None:
    """Give a network the attributes that those of this package have."""
    facts: Any = model
    if hasattr(model, "transform_input"):  # torchvision's trained Inceptions rescale their images
        config = ModelConfig(config.name, dict(config.options) | {"transform_input": facts.transform_input})
    try:
        facts.config = config
    except AttributeError as error:
        raise UsageError(f"{config.name} keeps something else under the name `config`, and senet cannot train it") from error
    if not hasattr(model, "input_size"):
        declared = getattr(model, "pretrained_cfg", None) or {}
        side = declared.get("input_size", (3, 299, 299) if "inception" in config.name else (3, 224, 224))[1:]
        facts.input_size = (in_channels, *side)


def _hyperparameters(name: str, options: Mapping[str, Any]) -> str:
    """Return name and hyperparameters as one text."""
    others = (
        "num_classes",
        "in_channels",
        "block",
        "placement",
        "stages",
        "inserted",
        "reduced",
        "transform_input",
        PRETRAINED,
        *INSERTION_OPTIONS,
    )
    own = {key: value for key, value in without_origins(name, options).items() if key not in others}
    return json.dumps([name, sorted(own.items())], default=repr)


def _spread(name: str, num_classes: int | None, in_channels: int, options: dict[str, Any], adapt_input: str | None) -> nn.Module:
    """Build a trained network for images of other channels, from the one that its library has."""
    trained = build_foreign(name, num_classes, RGB, options)
    model = build_foreign(name, num_classes, in_channels, {key: value for key, value in options.items() if key != PRETRAINED})
    load_opened(model, Source(f"the trained {name}", state=trained.state_dict()).open(), Allowed(adapt_input=adapt_input))
    return model


def outline_foreign(name: str, *arguments: Any) -> nn.Module:
    """Build a network on the meta device, as far as its constructor lets that be."""
    try:
        with torch.device("meta"):
            return build_foreign(name, *arguments)
    except UsageError as error:
        if not isinstance(error.__cause__, NotImplementedError):  # it computes widths with tensors, which have no numbers there
            raise
    with torch.device("cpu"):  # whatever device is the default here
        return build_foreign(name, *arguments).to("meta")


def build_foreign(name: str, num_classes: int | None, in_channels: int, options: dict[str, Any]) -> nn.Module:
    """Build a network of a library or of a user's file, as these make it.

    Raises:
        UsageError: as `create_foreign` does.
    """
    library, _, rest = name.partition("/")
    fix = "trained weights need a connection; ask for none, or fetch them once where there is one"
    own = in_user_file(name)
    try:
        with fetching(f"{name} cannot be made, as a download failed", fix, () if own else (OSError,)):
            if own:
                model = from_file(name, num_classes, in_channels, options)
            else:
                model = LIBRARIES[library](rest, num_classes, in_channels, options)
    except UsageError:
        raise
    except TypeError as error:
        raise UsageError(f"{name} does not take these options: {reason_of(error)}") from error
    except Exception as error:  # a library may raise anything
        if own:
            raise
        raise UsageError(f"{name} cannot be made: {reason_of(error)}") from error
    if not isinstance(model, nn.Module):
        raise UsageError(f"{name} returns {type(model).__name__}, which is not a torch.nn.Module")
    return model
