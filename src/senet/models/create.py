"""Networks from names, configurations and recipes."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from senet.errors import UsageError
from senet.models.backbone_request import WHERE_TRAINED, BackboneRequest, is_detector
from senet.models.encoder_request import EncoderRequest, take_encoder
from senet.models.features import FeatureMaps
from senet.models.foreign import PRETRAINED, create_foreign, foreign_from_config, inserted, is_foreign
from senet.models.inserted import Insertion, refuse_blocks
from senet.models.library_weights import LibraryWeights, loaded_by_library
from senet.models.network import ModelConfig, Network
from senet.models.reduced import REDUCED, reduce_network
from senet.models.registry import build_model, split_name
from senet.models.released import build_released, identify, needed_options
from senet.models.written import build_written
from senet.recipe import WEIGHTS_OPTIONS, ModelRecipe
from senet.spec import BlockRule, BlockSpec, Recalibration
from senet.unit_values import counts_by_place
from senet.userfile import in_user_file
from senet.weights.bridge import Allowed
from senet.weights.check import MisfitError
from senet.weights.load import fit_weights, load_opened
from senet.weights.loaded import LoadedWeights, file_of
from senet.weights.source import OpenedWeights, Source
from senet.weights.stem import check_spread


def create_model(
    name: str,
    *,
    num_classes: int | None = None,
    in_channels: int = 3,
    block: str | BlockSpec | BlockRule | None = "auto",
    placement: str = "standard",
    stages: tuple[int, ...] | None = None,
    reduction: int | dict[int | str, int] | None = None,
    omitted: Collection[tuple[int, int]] = (),
    weights: str | Path | Mapping[str, Any] | None = None,
    adapt_input: Literal["repeat", "mean"] | None = "repeat",
    device: torch.device | str | None = None,
    features_only: bool = False,
    out_indices: tuple[int, ...] | None = None,
    **options: Any,
) -> Network | FeatureMaps | nn.Module:
    """Create a network of the papers, plain or recalibrated, or one of another library with blocks inserted.

    Args:
        name: a name of `list_models()`; the prefixes se_, sse_, scse_ and cmpe_se_ recalibrate any plain name. Or timm/NAME,
            torchvision/NAME or path/to/file.py:factory, see `senet.models.foreign.create_foreign`.
        num_classes: width of the head; None = the family's data set.
        in_channels: channels of the images.
        block: "auto" = what the name says; None = the plain twin, whatever placement, stages and reduction say; a kind of block; a
            BlockSpec; or a rule (stage, index, channels) -> BlockSpec | None.
        placement: where the block sits in its residual unit, with F the branch and x' the shortcut after its projection:
            "standard" relu(x' + SE(F(x))), "pre" relu(x' + F(SE(x))), "post" SE(relu(x' + F(x))), "identity" relu(SE(x') + F(x)),
            "inner" after the 3x3. Pre-activation networks have no ReLU here. cmpe_se blocks take "standard" only, relu(x' + SE(F(x), x')).
        stages: the stages that get a block, in the paper's numbering; None = all.
        reduction: the block's reduction ratio, one number or `{stage: ratio}`.
        omitted: the units that get no block all the same: (stage, index in it from 1).
        weights: a file of weights, of this package or of another library ("timm:file.pth"), or the name of a release to fetch
            ("timm/legacy_seresnet50"), or a state dict, see `senet.load_weights`. The options that a release needs (v1_5, stem_pool,
            hidden widths) are applied; with another `num_classes` all but the head is loaded.
        adapt_input: how the first kernel of trained weights (`weights`, or another library's `pretrained`) is spread if `in_channels` are
            others than theirs: "repeat" or "mean", see `senet.load_weights`; None = refuse.
        device: where to build it; "meta" allocates nothing.
        features_only: return the stages' maps instead of logits, see `FeatureMaps`.
        out_indices: which of them; None = all.
        options: of a "unet" `encoder`, `encoder_options` and `encoder_weights`, see `senet.models.segmentation.encoders`; the family's own
            (v1_5, stem_pool, first_shortcut, input_bn, stem_bn, zero_init_residual, counts, dropout, recalibrate).

    Raises:
        UsageError: for an unknown name or option (the nearest is named), an impossible value, options that contradict each other, or
            weights that do not fit.
    """
    omitted = counts_by_place(omitted)  # pyright: ignore[reportAssignmentType] - of arrays, tuples
    if is_foreign(name) and (features_only or omitted or callable(block)):
        raise UsageError(f"{name} is not of this package: it takes no features_only, no omitted, and a block must be a kind or a BlockSpec")
    options |= {"omitted": omitted} if omitted else {}
    recalibration = Recalibration(block, placement, stages, reduction)
    ends: dict[str, Any] = {"num_classes": num_classes, "in_channels": in_channels}
    finish = partial(FeatureMaps, out_indices=out_indices) if features_only else None
    return create_recalibrated(
        name, recalibration, weights=weights, adapt_input=adapt_input, device=device, finish=finish, **ends, **options
    )


def create_recalibrated(
    name: str,
    recalibration: Recalibration,
    *,
    weights: str | Path | Mapping[str, Any] | None = None,
    adapt_input: Literal["repeat", "mean"] | None = "repeat",
    device: torch.device | str | None = None,
    finish: Callable[[Any], nn.Module] | None = None,
    insert_init: str | None = None,
    **options: Any,
) -> nn.Module:
    """Create the network that `create_model` does, with what recalibrates it as one value.

    Beside the arguments of that, `finish` changes the network before it is loaded; `insert_init`, "identity" or "paper", leaves the blocks
    out until it is loaded, and then inserts them, begun so. On the meta device weights are held against the network if they are a file, and
    nothing is fetched. The network's `loaded_weights` say what was loaded.
    """
    check_spread(adapt_input)
    options |= {name: counts_by_place(options[name]) for name in ("num_classes", "in_channels") if name in options}
    steps = options.pop(REDUCED, ())
    insertion = None if insert_init is None else Insertion.take(name, recalibration, insert_init, options)
    if insertion is not None:
        name, recalibration = insertion.host, Recalibration(None)
    outlined = device is not None and torch.device(device).type == "meta"
    published = LibraryWeights.parse(name, weights)
    if published is not None:
        name, weights = published.network, None
        options |= {} if outlined else {PRETRAINED: published.pretrained}
    request = None if is_foreign(name) else take_encoder(options)
    if request is not None and request.trained and weights is not None:
        raise UsageError("weights of the whole network hold its encoder's: leave out encoder_weights")
    source = None if weights is None else Source.parse(weights)
    opened = None if source is None or (outlined and not source.at_hand) else source.open()
    needed: dict[str, Any] = {}
    if opened is not None and not is_foreign(name):
        needed = needed_options(opened, name, options | {"block": recalibration.block})
        if "block" in needed:
            name, recalibration = split_name(name)[1], replace(recalibration, block=needed["block"])
        options |= {option: value for option, value in needed.items() if option != "block"}
    detector = None
    if not is_foreign(name) and is_detector(name):
        detector = BackboneRequest.parse(name, recalibration, options, is_trained=opened is not None)
        recalibration, options = detector.recalibration, dict(detector.options)
        needed |= {} if opened is None else {option: options[option] for option in WHERE_TRAINED}
    build = partial(create_foreign, adapt_input=adapt_input) if is_foreign(name) else build_model
    model = build(name, recalibration, device=device, **options)
    if detector is not None:
        detector.load(model.get_submodule("backbone"), adapt_input)
    if request is not None and request.trained:
        request.load(model.get_submodule("encoder"), adapt_input)
    has_numbers = not any(tensor.is_meta for tensor in model.parameters())
    loaded = _loaded_part(name, model, request, detector, options) if has_numbers and published is None else None
    model = model if finish is None else finish(model)
    held = () if opened is None else config_options(opened).get("inserted", ())
    if opened is not None and insertion is None:
        refuse_blocks(held, opened.source.text)
    elif opened is not None and insertion is not None and held:
        insertion.as_before(model, held, opened.source.text)
        insertion = None
    if opened is not None and (held_steps := config_options(opened).get(REDUCED, ())):
        steps, needed[REDUCED] = held_steps, held_steps
    reduce_network(model, steps)
    allowed = Allowed(options.get("num_classes") is not None, adapt_input)
    if opened is not None and outlined:
        fit_weights(model, opened, allowed)
    elif opened is not None:
        fresh = load_opened(model, opened, allowed).fresh
        loaded = LoadedWeights(opened.source.text, opened.fingerprint(), fresh, needed)
    elif published is not None and not outlined:
        loaded = published.found_in(model, options.get("num_classes"))
    if insertion is not None:
        insertion.into(model)
    if loaded is not None:
        model.loaded_weights = loaded  # pyright: ignore[reportArgumentType] - modules take any attribute
    return model


def _loaded_part(
    name: str, model: nn.Module, encoder: EncoderRequest | None, detector: BackboneRequest | None, options: Mapping[str, Any]
) -> LoadedWeights | None:
    """Return what a part of a network, or a library, was asked to begin from."""
    if encoder is not None:
        return encoder.loaded(model.get_submodule("encoder"))
    if detector is not None:
        return detector.loaded()
    return loaded_by_library(model, options) if options.get(PRETRAINED) and not in_user_file(name) else None


def config_options(opened: OpenedWeights) -> Mapping[str, Any]:
    """Return the options of the network that weights name; of weights that name none, none."""
    return {} if opened.metadata.config is None else opened.metadata.config["options"]


def model_from_config(config: Mapping[str, Any], *, device: torch.device | str | None = None, plain: bool = False) -> nn.Module:
    """Create the network that `ModelConfig.to_dict()` describes, or (`plain`) the same without its block."""
    options = dict(config["options"])
    steps = options.pop(REDUCED, ())
    build = foreign_from_config if is_foreign(config["name"]) else _from_options
    return reduce_network(build({"name": config["name"], "options": options}, device=device, plain=plain), steps, plain=plain)


def _from_options(config: Mapping[str, Any], *, device: torch.device | str | None, plain: bool) -> nn.Module:
    """Create a network of the registry, with the blocks that its plans put in."""
    options = dict(config["options"])
    plans = options.pop("inserted", ())
    block, placement, stages = options.pop("block"), options.pop("placement"), options.pop("stages")
    spec = None if block is None or plain else BlockSpec.from_saved(block)
    if spec is None:
        options.pop("omitted", None)
    recalibration = Recalibration(spec, placement, None if stages is None else tuple(stages))
    model = create_recalibrated(split_name(config["name"])[1], recalibration, device=device, **options)
    return model if plain else inserted(model, plans)


SET_BY_RECIPES = ("name", "recalibration", "num_classes", "in_channels", "device", "finish", "insert_init")
"""What a recipe, its data and its run decide of a network, and model.options cannot."""


def model_from_recipe(recipe: ModelRecipe, *, num_classes: int, in_channels: int, device: torch.device | str | None = None) -> nn.Module:
    """Create the network of a recipe for data with these classes and channels.

    Raises:
        UsageError: as `create_model` does, and for options that other fields of a recipe, or its data, decide.
    """
    if given := next((name for name in SET_BY_RECIPES if name in recipe.options), None):
        raise UsageError(f"model.options cannot hold {given!r}: the other fields of the recipe, or its images, decide it; leave it out")
    weights = recipe.options.get("weights") if recipe.weights is None else file_of(recipe.weights)
    options = {name: value for name, value in recipe.options.items() if name != "weights"}
    ends: dict[str, Any] = {"num_classes": num_classes, "in_channels": in_channels, "device": device}
    try:
        return create_recalibrated(recipe.name, recipe.recalibration, weights=weights, insert_init=recipe.init, **ends, **options)
    except MisfitError as error:
        way = "; if they are a plain network's, model.init identity puts the blocks in beside them"
        raise UsageError(f"{error}{'' if recipe.init else way}") from error


def as_begun(recipe: ModelRecipe, needed: Mapping[str, Any]) -> ModelRecipe:
    """Return the recipe of the same network with nothing to load: its numbers come from a checkpoint.

    Args:
        recipe: of the network that was built with weights.
        needed: the options that these needed, as plain data, see `LoadedWeights`.
    """
    others = {name: value for name, value in needed.items() if name != "block"}
    named = {"name": split_name(recipe.name)[1], "block": BlockSpec.from_saved(needed["block"])} if "block" in needed else {}
    dropped = ("weights",) if in_user_file(recipe.name) else WEIGHTS_OPTIONS  # in a user's file the others may mean anything
    kept = {name: value for name, value in recipe.options.items() if name not in dropped}
    return replace(recipe, weights=None, options=kept | others, **named)


def config_of(model: nn.Module) -> ModelConfig:
    """Return how a network of `create_model` was made."""
    config = getattr(model, "config", None)
    assert isinstance(config, ModelConfig)
    return config


def from_pretrained(source: str | Path, device: torch.device | str | None = None) -> nn.Module:
    """Build the network that weights are for and load them, in evaluation mode.

    Args:
        source: what `senet.load_weights` takes. Files of this package say which network they fit; for another library's file it is found
            out from its tensors.
        device: where to put it; None = torch's default device.

    Raises:
        UsageError: if the file is missing or damaged, or which network it fits cannot be told.
    """
    opened = Source.parse(source).open()
    config = opened.metadata.config
    if config is not None:
        model = build_written(opened, config, model_from_config, device=device)
    else:
        match = identify(opened)
        model = build_released(
            match.release.model, match.release.options, num_classes=match.num_classes, in_channels=match.in_channels, device=device
        )
    load_opened(model, opened, Allowed())
    return model.eval()
