"""Networks out of configurations that files of weights hold: a file chooses a network and its plain hyperparameters, and nothing else.

What a configuration may hold are the options that the network's family or its constructors name, as plain values. No option that says where
trained weights or anything else is to be had, on which device, or what is compiled, is among them. Before a number is allocated the network
is built on the meta device and held against the tensors that are in the file.
"""

import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from threading import get_ident
from types import NoneType
from typing import Any

from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from senet.errors import UsageError
from senet.insertion.units.parts import NETWORK_PARTS
from senet.insertion.written import INITS, WRITTEN_PLAN
from senet.models.backbone_request import check_backbone
from senet.models.encoder_request import check_encoder
from senet.models.foreign import ORIGINS, PRETRAINED, is_foreign, refuse_unnamed, was_made
from senet.models.libraries import ENTRIES
from senet.models.reduced import REDUCED, WRITTEN_STEP
from senet.models.registry import PLAIN, family_of, split_name
from senet.schema import FLAG, IDENTIFIER, NULL, Requirement, either, finite, integer, items, one_of, optional, record, table, text
from senet.userfile import in_user_file, load_function
from senet.weights.bridge import Allowed, bridge, check_head
from senet.weights.check import mismatch_error, mismatches
from senet.weights.metadata import COMMON_OPTIONS
from senet.weights.source import OpenedWeights

NO_HYPERPARAMETER = re.compile(
    r"(in_chans|block|layers|backbone|progress|device|dtype|scriptable|exportable|features_only|self|args|kwargs)"
    r"|(?!(weight_init|init_weights)$)(.*_)?(weights?|pretrained|checkpoint|cfg|config|url|file|dir)(_.*)?"
)
"""Parameters of constructors that no file may set, though some take plain values."""

UNNAMED = ("drop_path_rate", "drop_block_rate", "bn_momentum", "bn_eps", "bn_tf")
"""Hyperparameters that timm takes for several families and that no constructor names."""

WIDEST = 10_000
"""Largest number that a hyperparameter may be, beside those that count classes and channels: more units than any network has."""

SPARE = 1000
"""Parameters that a constructor may make beside those in the file, such as heads that it replaces."""

LARGEST_WHOLE = 10**9
"""Parameters that a network may have had before it was reduced to those in a file."""

_WORD = text(60, pattern=r"[\w.+-]*", what="a word")
_WHAT = f"true, false, null, a number up to {WIDEST}, a word of 60 letters, digits or .+-, or a list or mapping of these"
_SCALAR = replace(either(NULL, FLAG, integer(-WIDEST, WIDEST), finite(-WIDEST, WIDEST), _WORD), what=_WHAT)
_VALUE = replace(either(_SCALAR, items(either(_SCALAR, items(_SCALAR, high=64)), high=64)), what=_WHAT)
_KEY = Requirement("the name of a hyperparameter", lambda key: IDENTIFIER.takes(key) and not NO_HYPERPARAMETER.fullmatch(key))
HYPERPARAMETER = replace(either(_VALUE, table(_KEY, either(_VALUE, table(_KEY, _VALUE, high=64)), high=64)), what=_WHAT)

OF_TYPE = {
    bool: FLAG,
    str: _WORD,
    int: integer(1, 2048),  # as sides of kernels of volumes and as widths at once, bytes that 64 bits still count
    float: finite(0, 1),
    tuple: items(integer(1, WIDEST), high=64),
    NoneType: either(NULL, _WORD),
}
"""Type of the default of an option of our own families -> the rule for its values."""

INSERTION = {
    "init": one_of(*INITS),
    "existing": one_of("skip", "add"),
    "at": text(1000),
    "parts": items(one_of(*NETWORK_PARTS), high=len(NETWORK_PARTS)),
    PRETRAINED: either(NULL, FLAG, _WORD),
}
"""Options that say how a network of another library came about, and do not make it anew."""

COMMON = COMMON_OPTIONS | {"inserted": items(WRITTEN_PLAN, high=100), REDUCED: items(WRITTEN_STEP, high=100)}

FOREIGN_NAME = text(200, pattern=r"(timm|torchvision)/\w+(\.\w+)?", what="timm/NAME or torchvision/NAME")


def build_written(opened: OpenedWeights, config: Mapping[str, Any], build: Callable[..., nn.Module], **options: Any) -> nn.Module:
    """Build the network that a file's configuration describes.

    Args:
        opened: the file.
        config: name and options.
        build: what makes a network of them, on a `device`.
        options: go to `build`.

    Raises:
        UsageError: if an option is none that a file may choose, or the network has other tensors than the file; nothing is allocated then.
    """
    where = f"{opened.source.text}: model"
    if not was_made(config):
        silent = [name for name in ORIGINS if is_foreign(config["name"]) and config["options"].get(name) in (None, False)]
        said = {name: value for name, value in config["options"].items() if name not in silent}
        rules_of(config["name"], where, said).check(said, f"{where}.options")
    widest = max((side for tensor in opened.tensors.values() for side in tensor.shape), default=0)
    for option in ("num_classes", "in_channels"):
        optional(integer(0, widest)).check(config["options"][option], f"{where}.options.{option}")
    most = len(opened.tensors) + SPARE
    with at_most(most, where):
        check_whole(config, where, build)
    with at_most(most, where):
        network = build(config, device="meta")
    outline = network.state_dict()
    given = bridge(opened.tensors, outline, network, Allowed(adapt_input=None)).tensors
    check_head(opened.source.text, given, outline, network)
    faults = mismatches(given, outline)
    if faults["missing"] or faults["of another shape"]:
        raise mismatch_error(opened.source.text, given, outline)
    return build(config, **options)


def check_whole(config: Mapping[str, Any], where: str, build: Callable[..., nn.Module]) -> None:
    """Raise UsageError if a network that was made smaller was larger than any is: it is built as it was, then reduced."""
    if not config["options"].get(REDUCED):
        return
    options = {name: value for name, value in config["options"].items() if name != REDUCED}
    whole = build({"name": config["name"], "options": options}, device="meta")
    if (count := sum(parameter.numel() for parameter in whole.parameters())) > LARGEST_WHOLE:
        raise UsageError(f"{where}: the network had {count:,} parameters before it was reduced; at most {LARGEST_WHOLE:,} are believed")


def rules_of(name: str, where: str, options: Mapping[str, Any]) -> Requirement:
    """Return the rule for the options of a network that a file names; of these options, only the name of an encoder is looked at.

    Raises:
        UsageError: if there is no such network.
    """
    if not is_foreign(name):
        family = family_of(split_name(name)[1], options)
        own = _own_rules(family.options)
        inner = next((rules(options.get(option), f"{where}.options") for option, rules in INNER.items() if option in own), {})
        return record(COMMON | own | inner)
    if in_user_file(name):
        refuse_unnamed(name)
        parameters = inspect.signature(load_function(name, "network")).parameters.values()
        takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
        named = dict.fromkeys((parameter.name for parameter in parameters), HYPERPARAMETER)
        return record(named | INSERTION | COMMON, others=HYPERPARAMETER if takes_all else None)
    return record(_library_rules(name, f"{where}.name") | INSERTION | COMMON)


def _own_rules(options: Mapping[str, Any]) -> dict[str, Requirement]:
    """Return what options of a family of the registry must be: what their defaults are."""
    return {option: OF_TYPE[type(default)] for option, default in options.items()}


def _library_rules(name: str, where: str) -> dict[str, Requirement]:
    """Return the rules for the hyperparameters of a library's network."""
    FOREIGN_NAME.check(name, where)
    library, _, network = name.partition("/")
    return dict.fromkeys(hyperparameters(ENTRIES[library](network.partition(".")[0])), HYPERPARAMETER)


def _encoder_rules(name: Any, where: str) -> dict[str, Requirement]:
    """Return the rules for what a segmenter's options say of its encoder, and where its decoder takes more than its defaults show.

    Raises:
        UsageError: if there is no such encoder.
    """
    text(200).check(name, f"{where}.encoder")
    check_encoder(name)
    if is_foreign(name):
        own = _library_rules(name, f"{where}.encoder")
    else:
        own = _own_rules(PLAIN[split_name(name)[1]].options)
        own |= {option: COMMON_OPTIONS[option] for option in ("block", "placement", "stages", "omitted")}
    return {"encoder": text(200), "encoder_options": record(own), "norm": OF_TYPE[NoneType]}


def _backbone_rules(name: Any, where: str) -> dict[str, Requirement]:
    """Return the rules for what a detector's options say of its backbone, and where it takes more than its defaults show.

    Raises:
        UsageError: if there is no such backbone.
    """
    text(200).check(name, f"{where}.backbone")
    check_backbone(name)
    own = _own_rules(PLAIN[split_name(name)[1]].options)
    counts = dict.fromkeys(("regions", "proposals_train", "proposals_test", "detections_per_image"), integer(1, WIDEST))
    ranges = {"frozen_stages": integer(0, 10), "anchor_scale": finite(0.01, 1000)}
    return {"backbone": text(200), "backbone_options": optional(record(own)), **ranges, **counts}


INNER = {"encoder": _encoder_rules, "backbone": _backbone_rules}
"""Option that names a network inside the network -> what makes the rules for it."""


def hyperparameters(entry: Callable[..., nn.Module]) -> set[str]:
    """Return the plain hyperparameters that a library's constructor of a network takes, or passes on to the classes of its module."""
    module = vars(sys.modules[entry.__module__])
    classes = {cls for value in module.values() if isinstance(value, type) and issubclass(value, nn.Module) for cls in value.__mro__}
    signatures = [inspect.signature(function).parameters for function in (entry, *(cls.__init__ for cls in classes))]
    named = {name for parameters in signatures[1:] if "num_classes" in parameters for name in parameters}
    return {name for name in (*named, *signatures[0], *UNNAMED) if not NO_HYPERPARAMETER.fullmatch(name)}


@contextmanager
def at_most(parameters: int, where: str) -> Iterator[None]:
    """Stop, with a UsageError, what makes networks in this thread as soon as they have more parameters than this."""
    thread, left = get_ident(), parameters

    def count(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
        nonlocal left
        left -= get_ident() == thread
        if left < 0:
            raise UsageError(f"{where} describes a network of more tensors than there are in the file")

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()
