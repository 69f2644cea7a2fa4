"""The kinds of block: what each has to say of itself, and how users add their own."""

import re
from collections.abc import Mapping
from inspect import getattr_static, signature
from typing import Any

from torch import nn

from senet.errors import UsageError
from senet.spec import KINDS, PLACEMENTS, block_class, constructor_options
from senet.userfile import load_function

FIELDS = {
    "title": "how tables write it: 'SE'",
    "paper": "(authors and title, number in arXiv), or None if there is none",
    "placements": "where in a residual unit it can sit, out of senet.spec.PLACEMENTS",
    "sees_shortcut": "whether it is called with (branch, shortcut) instead of one map",
    "squeezed_maps": "how many maps of its input's size it reduces to get the gate, each one addition an element",
    "scaled_maps": "how many maps of its input's size it multiplies by a gate, each one multiplication an element",
    "has_channel_gates": "whether gate(*inputs) returns one value a channel, (N, C) or (N, C, ...), to be recorded",
    "stateless_options": "options that its tensors do not show -> the attributes that hold them",
    "start_as_identity": "method: set the weights so that block(x) times the returned factor is x, or raise UsageError with the reason",
    "tail_gates": "method with gain=1.0: the gates for the fused residual tail, or None",
}
"""What the class of a block has to say -> what that is; a property or a class attribute, methods where it says so.

It may say `has_spatial_gates = True` besides: gate(*inputs) then returns one value a position, (N, 1, ...), to be recorded.
"""

METHODS = ("start_as_identity", "tail_gates")
ATTRIBUTE_TYPES: dict[str, Any] = {
    "title": str,
    "paper": (tuple, type(None)),
    "sees_shortcut": bool,
    "has_channel_gates": bool,
    "placements": (tuple, list),
    "squeezed_maps": int,
    "scaled_maps": int,
    "stateless_options": Mapping,
}
RESERVED_KINDS = ("auto", "none", "plain")

_in_files: dict[str, type[nn.Module]] = {}
_replaced: list[type[nn.Module]] = []


def register_block(kind: str, cls: type[nn.Module]) -> None:
    """Make a class of yours a kind of block, for networks, insertion, recipes and files of weights.

    Its constructor takes the channels first and then its options, each with a default: they become the options of
    `BlockSpec(kind, ...)`. What else the class has to say is in `FIELDS`, see docs/blocks/own.md.

    A class of the same name and module takes the place of the one before it, as when the cell of a notebook runs again; blocks that were
    built from that one stay blocks. A class in a file that commands are to use needs no registration: path/to/file.py:Class is a kind.

    Args:
        kind: name of the kind, and prefix of networks that have it: "eca" gives "eca_resnet50".
        cls: the class.

    Raises:
        UsageError: if the name is taken, or the class leaves out or contradicts something, which is named.
    """
    if not isinstance(kind, str) or not re.fullmatch(r"[a-z][a-z0-9_]*", kind) or kind in RESERVED_KINDS:
        raise UsageError(f"a kind of block is named in lower-case letters, digits and underscores, such as 'eca'; got {kind!r}")
    known = block_class(kind) if kind in KINDS else cls
    if known is not cls and _home(known) != _home(cls):
        raise UsageError(f"the kind {kind!r} is taken by {known.__name__}: choose another name")
    _check_class(cls)
    if known is not cls:
        _replaced.append(known)
    KINDS[kind] = cls


def class_in_file(kind: str) -> type[nn.Module]:
    """Run a user's file, once, and return the class of path/to/file.py:Class.

    Raises:
        UsageError: if it is not there, or leaves out or contradicts something, which is named.
    """
    if kind not in _in_files:
        cls: Any = load_function(kind, "block")
        _check_class(cls)
        _in_files[kind] = cls
    return _in_files[kind]


def block_types() -> tuple[type[nn.Module], ...]:
    """Return the classes of all kinds."""
    return (*(block_class(kind) for kind in KINDS), *_in_files.values(), *_replaced)


def is_block(module: object) -> bool:
    """Return whether a module is a block of some kind."""
    return isinstance(module, block_types())


def modules_of_blocks(model: nn.Module) -> set[nn.Module]:
    """Return the blocks of a network and all modules in them."""
    return {inner for module in model.modules() if is_block(module) for inner in module.modules()}


def _home(cls: Any) -> tuple[str, str]:
    return getattr(cls, "__module__", ""), getattr(cls, "__qualname__", "")


def _check_class(cls: Any) -> None:
    if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
        raise UsageError(f"a block is a sub-class of torch.nn.Module, got {cls!r}")
    _check_fields(cls)
    _check_constructor(cls)


def _check_fields(cls: Any) -> None:
    for name, about in FIELDS.items():
        if not hasattr(cls, name):
            raise UsageError(f"{cls.__name__} does not say {name!r}: {about}")
        value = getattr_static(cls, name)
        if name in METHODS and not callable(value):
            raise UsageError(f"{name!r} of {cls.__name__} must be a method: {about}")
        if name in ATTRIBUTE_TYPES and not isinstance(value, (ATTRIBUTE_TYPES[name], property)):
            raise UsageError(f"{name!r} of {cls.__name__} is {value!r}, and should say {about}")
    if not cls.placements or set(cls.placements) - set(PLACEMENTS):
        raise UsageError(f"'placements' of {cls.__name__} are {cls.placements!r}; allowed: {', '.join(PLACEMENTS)}")
    if cls.sees_shortcut and tuple(cls.placements) != ("standard",):
        raise UsageError(f"{cls.__name__} sees the shortcut, so that 'standard' is its only placement, not {cls.placements!r}")
    for kind in ("channel", "spatial"):
        if getattr(cls, f"has_{kind}_gates", False) and not callable(getattr(cls, "gate", None)):
            raise UsageError(f"{cls.__name__} has {kind} gates, but no method 'gate' that returns them")


def _check_constructor(cls: Any) -> None:
    parameters = signature(cls).parameters
    if next(iter(parameters), None) != "channels":
        raise UsageError(f"the constructor of {cls.__name__} must take 'channels' first, then its options")
    for parameter in list(parameters.values())[1:]:
        if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD and parameter.kind is not parameter.KEYWORD_ONLY:
            raise UsageError(f"the constructor of {cls.__name__} must name its options, not take {parameter}")
        if parameter.default is parameter.empty:
            raise UsageError(f"the option {parameter.name!r} of {cls.__name__} has no default")
        if parameter.name in ("kind", "options") or parameter.name.startswith("_"):
            raise UsageError(f"{cls.__name__} cannot have an option {parameter.name!r}: choose another name")
    if unknown := set(cls.stateless_options) - constructor_options(cls).keys():
        raise UsageError(f"'stateless_options' of {cls.__name__} names {min(unknown)!r}, which is none of its options")
