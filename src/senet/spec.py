"""The vocabulary of recalibration: kinds of block, their options, and where a block can sit. No torch."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from senet.errors import UsageError, choice_error

Kind = Literal["se", "sse", "scse", "cmpe_se"]
Squeeze = Literal["avg", "max", "none"]
Gate = Literal["sigmoid", "tanh", "relu", "hard_sigmoid"]
Combine = Literal["add", "max", "multiply", "concat"]
Variant = Literal["double_fc", "pair_2x1", "pair_1x1", "folded_3x3"]
Fold = Literal["rows", "columns"]
Placement = Literal["standard", "pre", "post", "identity", "inner"]
ChannelOrder = Literal["rgb", "bgr"]

KINDS: tuple[str, ...] = get_args(Kind)
SQUEEZES: tuple[str, ...] = get_args(Squeeze)
GATES: tuple[str, ...] = get_args(Gate)
COMBINES: tuple[str, ...] = get_args(Combine)
VARIANTS: tuple[str, ...] = get_args(Variant)
FOLDS: tuple[str, ...] = get_args(Fold)
PLACEMENTS: tuple[str, ...] = get_args(Placement)
CHANNEL_ORDERS: tuple[str, ...] = get_args(ChannelOrder)

OPTIONS = {
    "se": ("reduction", "hidden", "squeeze", "gate", "bias"),
    "sse": ("bias",),
    "scse": ("reduction", "combine", "bias"),
    "cmpe_se": ("reduction", "hidden", "variant", "maps", "fold", "fold_size", "bias"),
}
"""The options of each kind."""

VARIANT_OPTIONS = {"double_fc": (), "pair_2x1": ("maps",), "pair_1x1": ("maps",), "folded_3x3": ("maps", "fold", "fold_size")}
"""The options of each variant of CMPE-SE, beside those that all of them have."""

DEFAULT_REDUCTION = {"se": 16, "scse": 2, "cmpe_se": 16}
"""The papers' reduction ratios; sSE has no bottleneck."""

KIND_PLACEMENTS = {"cmpe_se": ("standard",)}
"""The placements of the kinds that do not fit all: CMPE-SE rescales the branch by what it sees of branch and shortcut."""

CHOICES = {"squeeze": SQUEEZES, "gate": GATES, "combine": COMBINES, "variant": VARIANTS, "fold": FOLDS}
"""The options that are names, and the names they allow."""


def check_choice(what: str, value: object, allowed: tuple[str, ...]) -> None:
    """Raise UsageError, with the nearest name, unless `value` is one of `allowed`."""
    if value not in allowed:
        raise choice_error(what, value, allowed)


def check_positive(what: str, value: object) -> None:
    """Raise UsageError unless `value` is an integer of at least 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UsageError(f"{what} must be an integer of at least 1, got {value!r}")


def check_placement(kind: str, placement: str) -> None:
    """Raise UsageError unless blocks of this kind can sit there."""
    check_choice("placement", placement, PLACEMENTS)
    allowed = KIND_PLACEMENTS.get(kind, PLACEMENTS)
    if placement not in allowed:
        raise UsageError(f"{kind!r} blocks cannot take the placement {placement!r}; allowed: {', '.join(allowed)}")


def foreign_options(variant: str) -> set[str]:
    """Return the options that only other variants of CMPE-SE have."""
    return {option for options in VARIANT_OPTIONS.values() for option in options} - set(VARIANT_OPTIONS[variant])


def check_variant_options(variant: str, given: Iterable[str]) -> None:
    """Raise UsageError if `given` names an option that other variants of CMPE-SE have, but not this one."""
    foreign = foreign_options(variant)
    for option in given:
        if option in foreign:
            having = [name for name, options in VARIANT_OPTIONS.items() if option in options]
            raise UsageError(f"the variant {variant!r} of CMPE-SE has no option {option!r}; these have: {', '.join(having)}")


def hidden_width(channels: int, reduction: int) -> int:
    """Return the width of the bottleneck between the two FCs: max(1, C // r), never rounded (SENet, section 3.2)."""
    check_positive("reduction", reduction)
    return max(1, channels // reduction)


@dataclass(frozen=True)
class BlockSpec:
    """Say which block to build; None stands for the block's own default.

    Args:
        kind: which recalibration, one of `KINDS`; `OPTIONS` says which of the other fields it has.
        reduction: ratio r between the channels and the width of the bottleneck; one number or `{stage: r}`.
        squeeze: what summarises a channel: its mean, its maximum, or nothing ("none": the gate keeps H x W).
        gate: the non-linearity that makes the gate.
        bias: whether the layers of the block have biases (the releases of SE and scSE: yes; SE's ablations and CMPE-SE: no).
        hidden: explicit width of the bottleneck instead of `reduction`; one number or `{stage: width}`.
        combine: how scSE joins the channel and the spatial form.
        variant: how CMPE-SE looks at branch and shortcut.
        maps: filters of CMPE-SE's convolution.
        fold: whether `fold_size` counts the rows or the columns that the channels are folded to.
        fold_size: how many.

    Raises:
        UsageError: for a name outside its set, a width below 1, an option that the kind or variant does not have, or both `reduction` and
            `hidden`.
    """

    kind: Kind = "se"
    reduction: int | dict[int, int] | None = None
    squeeze: Squeeze | None = None
    gate: Gate | None = None
    bias: bool | None = None
    hidden: int | dict[int, int] | None = None
    combine: Combine | None = None
    variant: Variant | None = None
    maps: int | None = None
    fold: Fold | None = None
    fold_size: int | None = None

    def __post_init__(self) -> None:
        check_choice("block", self.kind, KINDS)
        options = self.options()
        for name, value in options.items():
            if name not in OPTIONS[self.kind]:
                raise UsageError(f"{self.kind!r} blocks have no option {name!r}; they have: {', '.join(OPTIONS[self.kind])}")
            if name in CHOICES:
                check_choice(name, value, CHOICES[name])
            elif name != "bias":
                for width in value.values() if isinstance(value, Mapping) else (value,):
                    check_positive(name, width)
        check_variant_options(self.variant or VARIANTS[0], options)
        if self.reduction is not None and self.hidden is not None:
            raise UsageError("give either reduction or hidden, not both: hidden is the width, reduction is channels / width")

    def options(self) -> dict[str, Any]:
        """Return the options that are set: every field that is not None, beside `kind`."""
        return {name: value for name, value in self.to_dict().items() if name != "kind"}

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that are set, ready for JSON or YAML."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> "BlockSpec":
        """Build a spec from plain data, where the keys of per-stage fields may be strings.

        Raises:
            UsageError: for an unknown field (the nearest is named) or as the constructor does.
        """
        known = [entry.name for entry in fields(cls)]
        for name in tree:
            check_choice("field of a block", name, tuple(known))
        values: dict[str, Any] = dict(tree)
        for name, value in tree.items():
            if isinstance(value, Mapping):
                values[name] = {int(stage): width for stage, width in value.items()}
        return cls(**values)

    def at_stage(self, stage: int) -> "BlockSpec":
        """Resolve `{stage: value}` fields for one stage.

        Raises:
            UsageError: if a per-stage field says nothing about this stage.
        """
        resolved: dict[str, Any] = {}
        for name, value in self.to_dict().items():
            if isinstance(value, Mapping):
                if stage not in value:
                    raise UsageError(f"{name} says nothing about stage {stage}; it names stages {', '.join(map(str, value))}")
                value = value[stage]
            resolved[name] = value
        return BlockSpec(**resolved)

    def with_defaults(self, **defaults: Any) -> "BlockSpec":
        """Set those options that are None and that the block has; a default `fold_size` goes with its `fold`, not with the other one."""
        lacking = foreign_options(self.variant or VARIANTS[0]) | ({"fold_size"} if self.fold not in (None, defaults.get("fold")) else set())
        taken = [name for name in OPTIONS[self.kind] if name in defaults and name not in lacking and getattr(self, name) is None]
        return replace(self, **{name: defaults[name] for name in taken})


@dataclass(frozen=True)
class InputSpec:
    """Say what images a trained network expects; it travels in the metadata of its weights.

    Args:
        size: side of the square input, in pixels.
        resize: shorter side before the centre crop, in pixels.
        channels: colour channels, 1 or 3.
        mean: mean of each channel, in the order of the channels, for images in 0..1.
        std: standard deviation of each channel.
        order: order of the colour channels that the network sees: "rgb", or "bgr" as Caffe reads images.

    Raises:
        UsageError: for another order.
    """

    size: int
    resize: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    order: ChannelOrder = "rgb"

    def __post_init__(self) -> None:
        check_choice("channel order", self.order, CHANNEL_ORDERS)
