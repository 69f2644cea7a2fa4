"""Every network by name: list them, create them, load trained ones."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import nn

from senet.errors import UsageError, nearest
from senet.models import cifar_resnet, preresnet, resnet, senet154
from senet.models.classifier import Classifier, ModelConfig
from senet.models.features import FeatureMaps
from senet.models.foreign import create_foreign, foreign_from_config, inserted, is_foreign
from senet.models.recalibration import BlockRule, Recalibration, with_reduction
from senet.recipe import ModelRecipe
from senet.spec import KINDS, BlockSpec, check_choice, check_positive
from senet.weights import store


@dataclass(frozen=True)
class Family:
    """Say how the networks of one family are built, and for which data.

    Args:
        network: called with (variant, num_classes, in_channels, recalibration, **options).
        variants: name -> what distinguishes the variant.
        num_classes: classes of the family's data set.
        image_size: side of its images, in pixels.
        kinds: the kinds of block that its names take as prefixes; CMPE-SE needs shortcuts.
        block: the kind of block that its networks have by themselves; their names take no prefix.
    """

    network: Callable[..., Classifier]
    variants: Mapping[str, Any]
    num_classes: int
    image_size: int
    kinds: tuple[str, ...] = KINDS
    block: str | None = None

    @property
    def options(self) -> dict[str, Any]:
        """The family's own options and their defaults."""
        parameters = inspect.signature(self.network).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


WITHOUT_SHORTCUTS = tuple(kind for kind in KINDS if kind != "cmpe_se")

FAMILIES = (
    Family(resnet.ResNet, resnet.VARIANTS, num_classes=1000, image_size=224),
    Family(resnet.ResNeXt, resnet.GROUPED_VARIANTS, num_classes=1000, image_size=224),
    Family(senet154.SENet154, senet154.VARIANTS, num_classes=1000, image_size=224, kinds=(), block="se"),
    Family(cifar_resnet.CifarResNet, cifar_resnet.VARIANTS, num_classes=10, image_size=32),
    Family(preresnet.PreResNet, preresnet.VARIANTS, num_classes=10, image_size=32),
)
PLAIN = {name: family for family in FAMILIES for name in family.variants}


def list_models(pattern: str = "*") -> list[str]:
    """Return the names that match a shell wildcard, plain and prefixed: `list_models("se_*resnet50")`."""
    names = [*PLAIN, *(f"{kind}_{name}" for kind in KINDS for name, family in PLAIN.items() if kind in family.kinds)]
    return [name for name in names if fnmatchcase(name, pattern)]


def create_model(
    name: str,
    *,
    num_classes: int | None = None,
    in_channels: int = 3,
    block: str | BlockSpec | BlockRule | None = "auto",
    placement: str = "standard",
    stages: tuple[int, ...] | None = None,
    reduction: int | dict[int, int] | None = None,
    weights: str | Path | None = None,
    device: torch.device | str | None = None,
    features_only: bool = False,
    out_indices: tuple[int, ...] | None = None,
    **options: Any,
) -> Classifier | FeatureMaps | nn.Module:
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
        weights: a file written by `save_weights`.
        device: where to build it; "meta" allocates nothing.
        features_only: return the stages' maps instead of logits, see `FeatureMaps`.
        out_indices: which of them; None = all.
        options: the family's own (v1_5, stem_pool, first_shortcut, input_bn, stem_bn, zero_init_residual).

    Raises:
        UsageError: for an unknown name or option (the nearest is named), an impossible value, or options that contradict each other.
    """
    if is_foreign(name):
        if features_only or callable(block):
            raise UsageError(f"{name} is not of this package: it takes no features_only, and a block must be a kind or a BlockSpec")
        options |= {"num_classes": num_classes, "in_channels": in_channels, "placement": placement, "stages": stages}
        model = create_foreign(name, block=block, reduction=reduction, device=device, **options)
        if weights is not None:
            store.load_weights(model, weights)
        return model
    kind, plain = split_name(name)
    if block is None:
        placement, stages, reduction = "standard", None, None
    family = PLAIN[plain]
    if family.block is not None and block == "auto":
        block = family.block
    spec = resolve_block(name, kind, block, reduction)
    known = family.options
    for option in options:
        if option not in known:
            raise UsageError(f"{plain} has no option {option!r}{nearest(option, known)}; it has: {', '.join(known)}")
    if spec is None and (stages is not None or placement != "standard"):
        raise UsageError(f"{name} is plain: stages and placement need a block, e.g. block='se'")
    classes = family.num_classes if num_classes is None else num_classes
    check_positive("num_classes", classes)
    check_positive("in_channels", in_channels)
    with torch.device("meta"):
        model = family.network(family.variants[plain], classes, in_channels, Recalibration(spec, placement, stages), **options)
    resolved = known | options | {"num_classes": classes, "in_channels": in_channels}
    resolved |= {"block": spec, "placement": placement, "stages": stages}
    prefix = f"{spec.kind}_" if isinstance(spec, BlockSpec) and family.block is None else ""
    model.config = ModelConfig(prefix + plain, resolved)
    model.input_size = (in_channels, family.image_size, family.image_size)
    device = torch.get_default_device() if device is None else torch.device(device)
    if device.type != "meta":
        model.to_empty(device=device)
        model.reset_parameters()
    if weights is not None:
        store.load_weights(model, weights)
    return FeatureMaps(model, out_indices) if features_only else model


def split_name(name: str) -> tuple[str | None, str]:
    """Split "se_resnet50" into ("se", "resnet50"), and "resnet50" into (None, "resnet50").

    Raises:
        UsageError: if there is no such network; near names are suggested.
    """
    for kind in sorted(KINDS, key=len, reverse=True):
        plain = name.removeprefix(f"{kind}_")
        if plain != name and plain in PLAIN and kind in PLAIN[plain].kinds:
            return kind, plain
    if name not in PLAIN:
        raise UsageError(f"unknown model {name!r}{nearest(name, list_models())}; `senet models` lists all")
    return None, name


def resolve_block(
    name: str, kind: str | None, block: str | BlockSpec | BlockRule | None, reduction: int | dict[int, int] | None
) -> BlockSpec | BlockRule | None:
    """Settle which block a network gets, from its name's prefix, `block=` and `reduction=`.

    Raises:
        UsageError: if two of them speak of the same thing, or `reduction` has no block to act on.
    """
    if kind is not None and block != "auto":
        plain = name.removeprefix(f"{kind}_")
        raise UsageError(f"{name!r} already names its block: drop block={block!r}, or create {plain!r} with it")
    if block == "auto":
        block = kind
    if isinstance(block, str):
        check_choice("block", block, KINDS)
        block = BlockSpec.from_dict({"kind": block})
    if isinstance(block, BlockSpec):
        return with_reduction(block, reduction)
    if reduction is not None:
        raise UsageError(f"reduction={reduction} needs a block of one kind: use {KINDS[0]}_{name}, or block={KINDS[0]!r}")
    return block


def model_from_config(config: Mapping[str, Any], *, device: torch.device | str | None = None, plain: bool = False) -> nn.Module:
    """Create the network that `ModelConfig.to_dict()` describes, or (`plain`) the same without its block."""
    if is_foreign(config["name"]):
        return foreign_from_config(config, device=device, plain=plain)
    options = dict(config["options"])
    plans = options.pop("inserted", ())
    block, placement, stages = options.pop("block"), options.pop("placement"), options.pop("stages")
    _, name = split_name(config["name"])
    if block is not None and not plain:
        options |= {"placement": placement, "stages": None if stages is None else tuple(stages)}
    spec = None if block is None or plain else BlockSpec.from_dict(block)
    model = create_model(name, block=spec, device=device, **options)
    return model if plain else inserted(model, plans)


def model_from_recipe(recipe: ModelRecipe, *, num_classes: int, in_channels: int, device: torch.device | str | None = None) -> nn.Module:
    """Create the network of a recipe for data with these classes and channels."""
    return create_model(
        recipe.name,
        num_classes=num_classes,
        in_channels=in_channels,
        block=recipe.block,
        placement=recipe.placement,
        stages=recipe.stages,
        reduction=recipe.reduction,
        device=device,
        **recipe.options,
    )


def config_of(model: nn.Module) -> ModelConfig:
    """Return how a network of `create_model` was made."""
    config = getattr(model, "config", None)
    assert isinstance(config, ModelConfig)
    return config


def from_pretrained(path: str | Path, device: torch.device | str | None = None) -> nn.Module:
    """Build the network that a weights file describes and load it, in evaluation mode.

    Args:
        path: a file written by `save_weights` or a training run.
        device: where to put it; None = torch's default device.

    Raises:
        UsageError: if the file is missing, damaged, or says nothing about its network.
    """
    config = store.read_metadata(path).model
    if config is None:
        raise UsageError(
            f"{str(path)!r} does not say which network it fits; create_model(name, weights={str(path)!r}) loads it into a named one"
        )
    model = model_from_config(config, device=device)
    store.load_weights(model, path)
    return model.eval()
