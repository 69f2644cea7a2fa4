"""The vocabulary of recalibration: which block, with which options, and where it sits. No torch.

What a kind of block is stands in its class alone: its options are the parameters of its constructor. `KINDS` says where the classes are;
a class is imported when its options are asked for.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from importlib import import_module
from inspect import signature
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from senet.errors import UsageError, choice_error
from senet.schema import FLAG, NULL, either, finite, integer, items, one_of, optional, record, table, text
from senet.text import printable
from senet.unit_values import WRITTEN_PLACE, by_place, counts_by_place, value_at, whole
from senet.userfile import in_user_file, may_run, was_loaded

Placement = Literal["standard", "pre", "post", "identity", "inner"]
ChannelOrder = Literal["rgb", "bgr"]

PLACEMENTS: tuple[str, ...] = get_args(Placement)
CHANNEL_ORDERS: tuple[str, ...] = get_args(ChannelOrder)

KINDS: dict[str, Any] = {
    "se": "senet.blocks.channel:ChannelSE",
    "sse": "senet.blocks.spatial:SpatialSE",
    "scse": "senet.blocks.channel_spatial:ChannelSpatialSE",
    "cmpe_se": "senet.blocks.competitive:CompetitiveSE",
}
"""Kind -> class of its blocks, or from where it is imported on first use; `senet.register_block` adds users' own."""

_SINGLE = either(NULL, FLAG, finite(), text(1000))
_OPTION = either(_SINGLE, items(_SINGLE, high=100))
WRITTEN_BLOCK = record({"kind": text(1000)}, others=either(_OPTION, table(WRITTEN_PLACE, _OPTION)))
"""A block as `BlockSpec.to_dict` writes it into JSON; what its options may be is the kind's to say."""

LARGEST_SIDE = 4096
"""Pixels of the side of an image that a network may be said to expect."""

WRITTEN_INPUT = record(
    {
        "size": integer(1, LARGEST_SIDE),
        "resize": integer(1, 2 * LARGEST_SIDE),
        "channels": integer(1, 1024),
        "mean": items(finite(-1e6, 1e6), low=1, high=1024),
        "std": items(finite(1e-9, 1e6), low=1, high=1024),
        "order": one_of(*CHANNEL_ORDERS),
        "range": optional(items(finite(), 2, 2)),
    },
    needed=("size", "resize", "channels", "mean", "std"),
)
"""The fields of an `InputSpec`."""


def check_choice(what: str, value: object, allowed: tuple[str, ...]) -> None:
    """Raise UsageError, with the nearest name, unless `value` is one of `allowed`."""
    if value not in allowed:
        raise choice_error(what, value, allowed)


def check_positive(what: str, value: object) -> int:
    """Return an integer as Python's; raise UsageError unless it is at least 1."""
    number = whole(value)
    if number is None or number < 1:
        raise UsageError(f"{what} must be an integer of at least 1, got {value!r}")
    return number


def check_kind(kind: object) -> None:
    """Raise UsageError, with the nearest name, unless `kind` is known or is a class in a user's file."""
    if not isinstance(kind, str) or not (kind in KINDS or in_user_file(kind)):
        raise UsageError(
            f"{choice_error('block', kind, KINDS)}; a block of your own: senet.register_block({str(kind)!r}, its class), "
            "or its class by name, path/to/file.py:Class"
        )


def block_class(kind: str) -> Any:
    """Return the class of a kind's blocks, see `senet.blocks.kinds.FIELDS`; for path/to/file.py:Class that file is run, once.

    Raises:
        UsageError: for an unknown kind, or a class that is not there or lacks something.
    """
    check_kind(kind)
    if in_user_file(kind):
        return import_module("senet.blocks.kinds").class_in_file(kind)
    if isinstance(home := KINDS[kind], str):
        module, _, name = home.partition(":")
        KINDS[kind] = getattr(import_module(module), name)
    return KINDS[kind]


def check_placement(kind: str, placement: str) -> None:
    """Raise UsageError unless blocks of this kind can sit there."""
    check_choice("placement", placement, PLACEMENTS)
    allowed = block_class(kind).placements
    if placement not in allowed:
        raise UsageError(f"{kind!r} blocks cannot take the placement {placement!r}; allowed: {', '.join(allowed)}")


@dataclass(frozen=True)
class Option:
    """Parameter of a block's constructor.

    Args:
        default: what the block takes where nothing is given.
        names: the names that it allows; none = another type.
        is_count: whether it is an integer of at least 1, which may differ by stage or unit.
        is_flag: whether it is true or false.
    """

    default: Any
    names: tuple[str, ...]
    is_count: bool
    is_flag: bool = False

    def check(self, name: str, value: object) -> Any:
        """Return a value, or `{stage or unit: value}`, with integers of Python; raise UsageError unless it is taken."""
        value = counts_by_place(value) if self.is_count else value
        for single in value.values() if isinstance(value, Mapping) else (value,):
            if self.names:
                check_choice(name, single, self.names)
            elif self.is_count:
                check_positive(name, single)
            elif self.is_flag and single not in (0, 1):  # True, False, and what equals them
                raise UsageError(f"{name} must be true or false, got {single!r}")
        return value


def options_of(kind: str) -> Mapping[str, Option]:
    """Return the options of a kind by name, in the order of its constructor.

    Raises:
        UsageError: for an unknown kind.
    """
    return constructor_options(block_class(kind))


def known_options(kind: str) -> Mapping[str, Option] | None:
    """Return the options of a kind; None if its class is in a user's file that nothing has run yet: it is built, and checked, later."""
    return None if in_user_file(kind) and not was_loaded(kind) else options_of(kind)


@cache
def constructor_options(cls: Any) -> Mapping[str, Option]:
    """Return the options of a class: every parameter of its constructor but the first, the channels."""
    hints = get_type_hints(cls.__init__)
    parameters = list(signature(cls).parameters.values())[1:]
    return MappingProxyType({p.name: _option(hints.get(p.name), p.default) for p in parameters})


def _option(hint: Any, default: Any) -> Option:
    types = get_args(hint) if get_origin(hint) is not Literal else (hint,)
    names = tuple(name for choice in types if get_origin(choice) is Literal for name in get_args(choice))
    return Option(default, names, int in (hint, *types), bool in (hint, *types))


def hidden_width(channels: int, reduction: int) -> int:
    """Return the width of the bottleneck between the two FCs: max(1, C // r), never rounded (SENet, section 3.2)."""
    return max(1, channels // check_positive("reduction", reduction))


@dataclass(frozen=True, init=False, repr=False)
class BlockSpec:
    """Kind of a block and its options: `BlockSpec("se", reduction=8, gate="tanh")`.

    Options that are left out, or None, have the block's own defaults; `spec.gate` is None then. Counts may differ by stage,
    `reduction={3: 8, 4: 16}`, and by unit of a stage, `hidden={3: 8, "3_4": 16}`: what is said of a unit wins.

    Args:
        kind: which recalibration, one of `KINDS`; or path/to/file.py:Class, whose options are checked when the first such block is built.
        options: the kind's own, the parameters of its class: `reduction`, `hidden`, `squeeze`, `gate` and `bias` of "se", ...

    Raises:
        UsageError: for a name outside its set, a count below 1, an option that the kind does not have, or options that contradict each
            other.
    """

    kind: str
    options: Mapping[str, Any] = field(hash=False)

    def __init__(self, kind: str = "se", **options: Any) -> None:
        check_kind(kind)
        given = {name: by_place(name, value) for name, value in options.items() if value is not None}
        known = known_options(kind) if given else {}
        if known is not None:
            for name, value in given.items():
                if name not in known:
                    raise UsageError(f"{kind!r} blocks have no option {name!r}; they have: {', '.join(known)}")
                given[name] = known[name].check(name, value)
        if {"reduction", "hidden"} <= given.keys():
            raise UsageError("give either reduction or hidden, not both: hidden is the width, reduction is channels / width")
        if known and given and (check := getattr(block_class(kind), "check_options", None)) is not None:
            check(given)
        object.__setattr__(self, "kind", kind)
        object.__setattr__(self, "options", {name: given[name] for name in (sorted(given) if known is None else known) if name in given})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in ("kind", "options") or name not in (known_options(self.kind) or self.options):
            raise AttributeError(f"a BlockSpec has no option {name!r}")
        return self.options.get(name)

    def __repr__(self) -> str:
        return f"BlockSpec({', '.join([repr(self.kind), *(f'{name}={value!r}' for name, value in self.options.items())])})"

    def to_dict(self) -> dict[str, Any]:
        """Return kind and options as one mapping, ready for JSON or YAML."""
        return {"kind": self.kind, **{name: dict(value) if isinstance(value, Mapping) else value for name, value in self.options.items()}}

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> "BlockSpec":
        """Build a spec from plain data, where stages as keys may be strings.

        Raises:
            UsageError: for an unknown option (the nearest is named) or as the constructor does.
        """
        WRITTEN_BLOCK.check(tree, "block")
        kind = tree.get("kind", "se")
        check_kind(kind)
        if len(tree) > ("kind" in tree) and (known := known_options(kind)) is not None:
            for name in tree:
                check_choice("field of a block", name, ("kind", *known))
        return cls(**tree)

    @classmethod
    def from_saved(cls, tree: Mapping[str, Any]) -> "BlockSpec":
        """Build a spec from what a file of weights or a plan holds.

        Raises:
            UsageError: as `from_dict` does, or if the block is one of a user's file that was not named in this process.
        """
        kind = tree.get("kind", "se")
        if isinstance(kind, str) and in_user_file(kind) and not may_run(kind):
            raise UsageError(
                f"this needs blocks of {printable(kind)}, and a file of weights or a plan is no reason to run that code: "
                f"name it yourself first, --block {printable(kind)} or senet.spec.block_class({printable(kind)!r})"
            )
        return cls.from_dict(tree)

    def with_options(self, **options: Any) -> "BlockSpec":
        """Return the spec with these options set, beside or in the place of its own."""
        return BlockSpec(self.kind, **{**self.options, **options})

    def at_unit(self, stage: int, index: int) -> "BlockSpec":
        """Resolve options that differ by stage or unit for unit `index`, from 1, of a stage.

        Raises:
            UsageError: if such an option says nothing about this unit, nor about its stage.
        """
        return BlockSpec(self.kind, **{name: value_at(name, value, stage, index) for name, value in self.options.items()})

    def with_defaults(self, **defaults: Any) -> "BlockSpec":
        """Set those options that are not set and that the block has, as far as they go with those that are set."""
        known = options_of(self.kind)
        said = {*self.options, *(("reduction", "hidden") if {"reduction", "hidden"} & self.options.keys() else ())}
        offered = {name: value for name, value in defaults.items() if name in known and name not in said}
        accept = getattr(block_class(self.kind), "accept_defaults", None)
        return self.with_options(**(offered if accept is None else accept(self.options, offered)))


BlockRule = Callable[[int, int, int], BlockSpec | None]
"""(stage, index of the unit in its stage from 1, channels) -> its block, or None."""


@dataclass(frozen=True)
class Recalibration:
    """Recalibration of a network: one value from the command line or a recipe to the network.

    A plain network, block None, has no placement, stages and reduction: whatever is given for them is dropped.

    Args:
        block: "auto" = what the network's name says; None = nothing; a kind of block; a BlockSpec; or a rule.
        placement: where the block sits in its residual unit.
        stages: the stages that get a block, in the paper's numbering; None = all.
        reduction: the block's reduction ratio, one number or `{stage or unit: ratio}`; None = what the block says.
    """

    block: str | BlockSpec | BlockRule | None = "auto"
    placement: str = "standard"
    stages: tuple[int, ...] | None = None
    reduction: int | dict[int | str, int] | None = None

    def __post_init__(self) -> None:
        for name in ("stages", "reduction"):
            object.__setattr__(self, name, by_place(name, counts_by_place(getattr(self, name))))
        if self.stages is not None and not isinstance(self.stages, tuple):
            raise UsageError(f"stages are the numbers of stages, such as (3, 4), got {self.stages!r}")
        if self.block is None:
            for name, value in (("placement", "standard"), ("stages", None), ("reduction", None)):
                object.__setattr__(self, name, value)

    def with_block(self, block: str | BlockSpec | BlockRule | None) -> "Recalibration":
        """Return the same with this block, a spec if it is a kind, of which the reduction has become a part.

        Raises:
            UsageError: for an unknown kind, or a reduction that is given twice or that no block is there to take.
        """
        spec = BlockSpec(block) if isinstance(block, str) else block
        if self.reduction is None:
            return replace(self, block=spec)
        if not isinstance(spec, BlockSpec):
            raise UsageError(f"reduction={self.reduction} needs a block of one kind, such as block='se'")
        if {"reduction", "hidden"} & spec.options.keys():
            raise UsageError(f"reduction={self.reduction} is given twice: the block has {spec.to_dict()}; leave one out")
        return replace(self, block=spec.with_options(reduction=self.reduction), reduction=None)

    def to_dict(self) -> dict[str, Any]:
        """Return the four as keyword arguments of `senet.create_model`."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}


@dataclass(frozen=True)
class InputSpec:
    """Images that a trained network expects; travels in the metadata of its weights.

    Args:
        size: side of the square input, in pixels.
        resize: shorter side before the centre crop, in pixels.
        channels: colour channels, 1 or 3.
        mean: mean of each channel, in the order of the channels, for images in 0..1.
        std: standard deviation of each channel.
        order: order of the colour channels that the network sees: "rgb", or "bgr" as Caffe reads images.
        range: the values that are black and white in images of more than 8 bits; None = what each file says.

    Raises:
        UsageError: if a field is not what `WRITTEN_INPUT` says, or there is not one mean and one deviation for each channel.
    """

    size: int
    resize: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    order: ChannelOrder = "rgb"
    range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        check_choice("channel order", self.order, CHANNEL_ORDERS)
        WRITTEN_INPUT.check(vars(self), "input")
        for name in ("mean", "std"):
            if len(getattr(self, name)) != self.channels:
                raise UsageError(
                    f"input: {name} must have one number for each of the {self.channels} channels, got {len(getattr(self, name))}"
                )

    @classmethod
    def from_written(cls, tree: Mapping[str, Any], where: str = "input") -> "InputSpec":
        """Build it from plain data, as `dataclasses.asdict` gives them; `where` is what errors call them.

        Raises:
            UsageError: as the constructor does.
        """
        WRITTEN_INPUT.check(tree, where)
        values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in tree.items()}
        try:
            return cls(**values)
        except UsageError as error:
            raise UsageError(f"{where.removesuffix('input')}{error}") from None
