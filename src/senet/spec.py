"""The vocabulary of recalibration: kinds of block, their options, and where a block can sit. No torch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from senet.errors import UsageError, choice_error

Kind = Literal["se"]
Squeeze = Literal["avg", "max", "none"]
Gate = Literal["sigmoid", "tanh", "relu", "hard_sigmoid"]
Placement = Literal["standard", "pre", "post", "identity", "inner"]

KINDS: tuple[str, ...] = get_args(Kind)
SQUEEZES: tuple[str, ...] = get_args(Squeeze)
GATES: tuple[str, ...] = get_args(Gate)
PLACEMENTS: tuple[str, ...] = get_args(Placement)

OPTIONS = {"se": ("squeeze", "gate", "bias", "hidden")}
"""The options of each kind, beside `reduction`."""

DEFAULT_REDUCTION = {"se": 16}
"""The papers' reduction ratios."""


def check_choice(what: str, value: object, allowed: tuple[str, ...]) -> None:
    """Raise UsageError, with the nearest name, unless `value` is one of `allowed`."""
    if value not in allowed:
        raise choice_error(what, value, allowed)


def check_positive(what: str, value: object) -> None:
    """Raise UsageError unless `value` is an integer of at least 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UsageError(f"{what} must be an integer of at least 1, got {value!r}")


def hidden_width(channels: int, reduction: int) -> int:
    """Return the width of the bottleneck between the two FCs: max(1, C // r), never rounded (SENet, section 3.2)."""
    check_positive("reduction", reduction)
    return max(1, channels // reduction)


@dataclass(frozen=True)
class BlockSpec:
    """Say which block to build; None stands for the block's own default.

    Args:
        kind: which recalibration, one of `KINDS`.
        reduction: ratio r between the channels and the width of the bottleneck; one number or `{stage: r}`.
        squeeze: what summarises a channel: its mean, its maximum, or nothing ("none": the gate keeps H x W).
        gate: the non-linearity that makes the gate.
        bias: whether the fully connected layers have biases (the official release: yes; the paper's ablations: no).
        hidden: explicit width of the bottleneck instead of `reduction`; one number or `{stage: width}`.

    Raises:
        UsageError: for a name outside its set, a width below 1, an option that the kind does not have, or both `reduction` and `hidden`.
    """

    kind: Kind = "se"
    reduction: int | dict[int, int] | None = None
    squeeze: Squeeze | None = None
    gate: Gate | None = None
    bias: bool | None = None
    hidden: int | dict[int, int] | None = None

    def __post_init__(self) -> None:
        check_choice("block", self.kind, KINDS)
        for option in self.options():
            if option not in OPTIONS[self.kind]:
                raise UsageError(f"{self.kind!r} blocks have no option {option!r}; they have: reduction, {', '.join(OPTIONS[self.kind])}")
        for what, value, allowed in (("squeeze", self.squeeze, SQUEEZES), ("gate", self.gate, GATES)):
            if value is not None:
                check_choice(what, value, allowed)
        for what, width in (("reduction", self.reduction), ("hidden", self.hidden)):
            for value in width.values() if isinstance(width, Mapping) else (width,):
                if value is not None:
                    check_positive(what, value)
        if self.reduction is not None and self.hidden is not None:
            raise UsageError("give either reduction or hidden, not both: hidden is the width, reduction is channels / width")

    def options(self) -> dict[str, Any]:
        """Return the options that are set, beside `kind` and `reduction`."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in named.items() if value is not None and name not in ("kind", "reduction")}

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


@dataclass(frozen=True)
class InputSpec:
    """Say what images a trained network expects; it travels in the metadata of its weights.

    Args:
        size: side of the square input, in pixels.
        resize: shorter side before the centre crop, in pixels.
        channels: colour channels, 1 or 3.
        mean: mean of each channel, for images in 0..1.
        std: standard deviation of each channel.
    """

    size: int
    resize: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
