"""Every network by name: list them, build them."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import torch

from senet.errors import UsageError, nearest
from senet.models import bn_inception, cifar_resnet, inception_resnet, mobilenet, preresnet, resnet, shake_shake, shufflenet, vgg
from senet.models.detection import rcnn, retinanet
from senet.models.network import ModelConfig, Network
from senet.models.segmentation import encoders, fc_densenet, sd_net, unet
from senet.models.unit_blocks import UnitBlocks
from senet.spec import KINDS, BlockSpec, Recalibration, block_class, check_kind, check_positive
from senet.unit_values import counts_by_place


@dataclass(frozen=True)
class Family:
    """Networks that are built alike, for one kind of data.

    Args:
        network: called with (variant, num_classes, in_channels, blocks, **options).
        variants: name -> what distinguishes the variant.
        num_classes: classes of the family's data set.
        image_size: side of its images, in pixels.
        dims: sides of an image: 2, or 3 for volumes.
        has_shortcuts: whether its units add a shortcut, which blocks that see it need.
        block: the kind of block that its networks have by themselves; their names take no prefix.
        defaults: of its options, where they are not the network's own.
        block_defaults: of its blocks' options, where they are not the blocks' own.
        fixed: options of the network that the family does not have, and their values.
    """

    network: Callable[..., Network]
    variants: Mapping[str, Any]
    num_classes: int
    image_size: int
    dims: int = 2
    has_shortcuts: bool = True
    block: str | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    block_defaults: Mapping[str, Any] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)

    @property
    def options(self) -> dict[str, Any]:
        """The family's own options and their defaults."""
        parameters = inspect.signature(self.network).parameters.values()
        of_network = {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}
        return {name: self.defaults.get(name, value) for name, value in of_network.items() if name not in self.fixed}

    def takes(self, kind: str) -> bool:
        """Return whether its names take a kind of block as prefix."""
        return self.block is None and (self.has_shortcuts or not block_class(kind).sees_shortcut)


STRIDE_IN_3X3 = {"v1_5": True}
HALVES: Mapping[str, Any] = {"reduction": 2}
"""Reduction of the blocks of the scSE paper."""

FAMILIES = (
    Family(resnet.ResNet, resnet.VARIANTS, num_classes=1000, image_size=224, fixed={"dropout": 0.0}),
    Family(resnet.ResNet, resnet.GROUPED_VARIANTS, num_classes=1000, image_size=224, fixed=STRIDE_IN_3X3 | {"dropout": 0.0}),
    Family(
        resnet.ResNet, resnet.SENET_VARIANTS, num_classes=1000, image_size=224, block="se", defaults={"dropout": 0.2}, fixed=STRIDE_IN_3X3
    ),
    Family(vgg.VGG, vgg.VARIANTS, num_classes=1000, image_size=224, has_shortcuts=False),
    Family(mobilenet.MobileNet, mobilenet.VARIANTS, num_classes=1000, image_size=224, has_shortcuts=False),
    Family(shufflenet.ShuffleNet, shufflenet.VARIANTS, num_classes=1000, image_size=224, has_shortcuts=False),
    Family(bn_inception.BNInception, bn_inception.VARIANTS, num_classes=1000, image_size=224, has_shortcuts=False),
    Family(inception_resnet.InceptionResNet, inception_resnet.VARIANTS, num_classes=1000, image_size=299, has_shortcuts=False),
    Family(cifar_resnet.CifarResNet, cifar_resnet.VARIANTS, num_classes=10, image_size=32),
    Family(preresnet.PreResNet, preresnet.VARIANTS, num_classes=10, image_size=32),
    Family(shake_shake.ShakeShake, shake_shake.VARIANTS, num_classes=10, image_size=32),
    Family(shake_shake.ShakeShake, shake_shake.EVEN_VARIANTS, num_classes=100, image_size=32),
    Family(unet.UNet, unet.VARIANTS, num_classes=28, image_size=256, has_shortcuts=False, block_defaults=HALVES),
    Family(sd_net.SDNet, sd_net.VARIANTS, num_classes=28, image_size=256, has_shortcuts=False, block_defaults=HALVES),
    Family(fc_densenet.FCDenseNet, fc_densenet.VARIANTS, num_classes=28, image_size=256, has_shortcuts=False, block_defaults=HALVES),
    Family(
        unet.UNet,
        unet.VOLUME_VARIANTS,
        num_classes=28,
        image_size=64,
        dims=3,
        has_shortcuts=False,
        defaults={"width": 32, "kernel": 3},
        block_defaults=HALVES,
    ),
    Family(rcnn.RCNN, rcnn.VARIANTS, num_classes=80, image_size=800, fixed={"mask_width": 256}),
    Family(rcnn.RCNN, rcnn.MASK_VARIANTS, num_classes=80, image_size=800),
    Family(retinanet.RetinaNet, retinanet.DENSE_VARIANTS, num_classes=80, image_size=800),
)
PLAIN = {name: family for family in FAMILIES for name in family.variants}
WITH_ENCODER = {
    name: Family(encoders.EncodedUNet, unet.VARIANTS, num_classes=28, image_size=256, has_shortcuts=False, block_defaults=HALVES)
    for name in unet.VARIANTS
}
"""Networks that may be built around another one, their option `encoder`, and what they are then."""


def list_models(pattern: str = "*") -> list[str]:
    """Return the names that match a shell wildcard, plain and prefixed: `list_models("se_*resnet50")`."""
    names = [*PLAIN, *(f"{kind}_{name}" for kind in KINDS for name, family in PLAIN.items() if family.takes(kind))]
    return [name for name in names if fnmatchcase(name, pattern)]


def build_model(
    name: str,
    recalibration: Recalibration,
    *,
    num_classes: int | None = None,
    in_channels: int = 3,
    omitted: Iterable[Iterable[int]] = (),
    device: torch.device | str | None = None,
    **options: Any,
) -> Network:
    """Build a network of the registry with fresh weights; the arguments are those of `create_model`.

    Raises:
        UsageError: as `create_model` does.
    """
    kind, plain = split_name(name)
    family = family_of(plain, options)
    resolved = resolve_block(name, kind, family, recalibration)
    blocks = UnitBlocks(resolved, tuple(map(_unit, omitted)), family.block_defaults)
    if resolved.block is None and blocks.omitted:
        raise UsageError(f"{name} is plain: omitted needs a block, e.g. block='se'")
    with torch.device("meta"):
        model = assemble(plain, family, blocks, num_classes=num_classes, in_channels=in_channels, options=options)
    blocks.check_units()
    device = torch.get_default_device() if device is None else torch.device(device)
    if device.type != "meta":
        model.to_empty(device=device)
        model.reset_parameters()
    return model


def assemble(
    plain: str, family: Family, blocks: UnitBlocks, *, num_classes: int | None, in_channels: int, options: Mapping[str, Any]
) -> Network:
    """Build a network with undefined weights on torch's default device, and say how it was made.

    Raises:
        UsageError: for an option that the family does not have, or an impossible value.
    """
    known = family.options
    for option in options:
        if option not in known:
            which = f"{plain} with an encoder" if "encoder" in known else plain
            also = ", encoder, encoder_options, encoder_weights" if plain in WITH_ENCODER and "encoder" not in known else ""
            raise UsageError(f"{which} has no option {option!r}{nearest(option, known)}; it has: {', '.join(known)}{also}")
    classes = check_positive("num_classes", family.num_classes if num_classes is None else num_classes)
    in_channels = check_positive("in_channels", in_channels)
    chosen = {**known, **options}
    model = family.network(family.variants[plain], classes, in_channels, blocks, **family.fixed, **chosen)
    resolved = blocks.recalibration
    chosen |= {"num_classes": classes, "in_channels": in_channels}
    chosen |= {"block": resolved.block, "placement": resolved.placement, "stages": resolved.stages}
    kind = resolved.block.kind if isinstance(resolved.block, BlockSpec) and family.block is None else None
    prefix = f"{kind}_" if kind in KINDS else ""
    model.config = ModelConfig(prefix + plain, chosen | ({"omitted": blocks.omitted} if blocks.omitted else {}))
    model.option_defaults = known
    model.input_size = (in_channels, *[family.image_size] * family.dims)
    return model


def family_of(plain: str, options: Mapping[str, Any]) -> Family:
    """Return the family of a network, by its name without prefix and whether its options name an encoder."""
    return WITH_ENCODER[plain] if plain in WITH_ENCODER and options.get("encoder") is not None else PLAIN[plain]


def split_name(name: str) -> tuple[str | None, str]:
    """Split "se_resnet50" into ("se", "resnet50"), and "resnet50" into (None, "resnet50").

    Raises:
        UsageError: if there is no such network, or none with such blocks; near names are suggested.
    """
    for kind in sorted(KINDS, key=len, reverse=True):
        plain = name.removeprefix(f"{kind}_")
        if plain != name and plain in PLAIN and PLAIN[plain].takes(kind):
            return kind, plain
    if name not in PLAIN:
        blocks = [name.removesuffix(f"_{plain}") for plain in PLAIN if name.endswith(f"_{plain}")]
        if blocks and (kind := min(blocks, key=len)).isidentifier() and not nearest(kind, KINDS):  # a misspelt kind is a misspelt network
            check_kind(kind)
        raise UsageError(f"unknown model {name!r}{nearest(name, list_models())}; `senet models` lists all")
    return None, name


def resolve_block(name: str, kind: str | None, family: Family, recalibration: Recalibration) -> Recalibration:
    """Return what recalibrates a network, from its name's prefix, its family and what is asked for.

    Raises:
        UsageError: if two of them speak of the same thing, or `reduction` has no block to act on.
    """
    block = recalibration.block
    if kind is not None and block != "auto":
        plain = name.removeprefix(f"{kind}_")
        raise UsageError(f"{name!r} already names its block: drop block={block!r}, or create {plain!r} with it")
    if block == "auto":
        block = family.block or kind
        if block is None:
            return _without_block(name, recalibration)
    return recalibration.with_block(block)


def _without_block(name: str, recalibration: Recalibration) -> Recalibration:
    """Return the plain network's, where nothing else is asked of it."""
    if recalibration.reduction is not None:
        raise UsageError(f"reduction={recalibration.reduction} needs a block of one kind: use se_{name}, or block='se'")
    if recalibration != Recalibration():
        raise UsageError(f"{name} is plain: stages and placement need a block, e.g. block='se'")
    return Recalibration(None)


def _unit(numbers: Iterable[int]) -> tuple[int, int]:
    unit = counts_by_place(tuple(numbers) if isinstance(numbers, Iterable) else numbers)
    if isinstance(unit, tuple) and len(unit) == 2 and all(isinstance(number, int) for number in unit):
        return unit
    raise UsageError(f"omitted holds units as (stage, index in it from 1), such as ((4, 3),); got {numbers!r}")
