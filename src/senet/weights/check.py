"""Whether weights fit a network: its configuration, and its tensors by name and shape."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from senet.errors import UsageError
from senet.text import printable

SHOWN = 8
"""How many names of a list an error prints."""

LONGEST = 60
"""How many characters of a value an error prints."""


ODDITIES: dict[str, Callable[[Tensor], bool]] = {
    "a parameter without a shape (run the network once)": is_lazy,
    "a tensor on the meta device, without numbers": lambda tensor: tensor.is_meta,
    "a quantised tensor": lambda tensor: tensor.is_quantized,
    "a sparse tensor": lambda tensor: tensor.layout is not torch.strided,
    "a nested tensor": lambda tensor: tensor.is_nested,
}
"""What a tensor may be that has no plain numbers -> whether it is."""


class MisfitError(UsageError):
    """Weights that are another network's."""


def oddity(tensor: Tensor) -> str | None:
    """Return what a tensor is that has no plain numbers, or None."""
    return next((what for what, has in ODDITIES.items() if has(tensor)), None)


def check_config(
    source: str,
    saved: Mapping[str, Any],
    own: Mapping[str, Any],
    *,
    defaults: Mapping[str, Any] | None = None,
    ignore: Collection[str] = (),
) -> None:
    """Raise UsageError if weights were made by another network, or one with other options.

    Args:
        source: the file, as errors name it.
        saved: name and options of the network that the file is of.
        own: those of the network to fill.
        defaults: options that a file may lack, as one of an earlier version does, and what they are then.
        ignore: names of options that may differ.
    """
    own, defaults = json.loads(json.dumps([own, dict(defaults or {})]))
    saved = {"name": saved["name"], "options": {**(defaults or {}), **saved["options"]}}
    fix = f"senet.from_pretrained({source!r}) builds the right one"
    if saved["name"] != own["name"]:
        raise MisfitError(f"{source!r} holds weights of {saved['name']}, but this network is {own['name']}; {fix}")
    differ = differences(saved["options"], own["options"], ignore)
    if differ:
        which = ", ".join(f"{name}={short(saved['options'].get(name))} (here {short(own['options'].get(name))})" for name in differ)
        raise MisfitError(f"{source!r} holds weights of {saved['name']} with {which}; {fix}")


def differences(first: Mapping[str, Any], second: Mapping[str, Any], ignore: Collection[str] = ()) -> list[str]:
    """Return the names under which two mappings differ."""
    return [name for name in sorted(first.keys() | second.keys()) if name not in ignore and first.get(name) != second.get(name)]


def check_tensors(source: str, given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Raise UsageError, naming the tensors, unless the same names with the same shapes are given and wanted."""
    if any(mismatches(given, wanted).values()):
        raise mismatch_error(source, given, wanted)


def mismatch_error(source: str, given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> MisfitError:
    """Return the error that names the tensors which do not fit."""
    faults = mismatches(given, wanted)
    found = [f"{len(names)} {what}: {listed(names)}" for what, names in faults.items() if names]
    return MisfitError(f"{source!r} does not fit this network: {'; '.join(found)}")


def mismatches(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """Return the names that are missing, those that are unexpected, and those whose shapes or kinds of numbers differ.

    Widths of types may differ; integers in the place of fractions are the codes of a quantised network, and complex numbers lose a part.
    """
    return {
        "missing": [name for name in wanted if name not in given],
        "unexpected": [name for name in given if name not in wanted],
        "of another shape": [
            f"{name} {tuple(given[name].shape)} for {tuple(tensor.shape)}"
            for name, tensor in wanted.items()
            if name in given and given[name].shape != tensor.shape
        ],
        "of another type": [
            f"{name} {given[name].dtype} for {tensor.dtype}"
            for name, tensor in wanted.items()
            if name in given and tensor.is_floating_point() and not given[name].is_floating_point()
        ],
    }


def short(value: object) -> str:
    """Return a value in few characters."""
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def listed(names: Sequence[str]) -> str:
    """Return the first of many names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(printable(name) for name in names[:SHOWN]) + more
