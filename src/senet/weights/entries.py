"""The state dict in what a training program saved: beside an optimiser, below names of its own, perhaps as often as there are averages."""

import logging
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from senet.errors import UsageError
from senet.text import printable
from senet.weights.check import listed, oddity
from senet.weights.plain_pickle import NumpyArray

NESTING = 4
"""Levels of mappings that are searched."""

OTHER_STATES = re.compile(r"opt$|.*(optim|sched|scaler|rng_state|callbacks|loops|sampler)", re.IGNORECASE)
"""Names of entries that hold no weights, though they may hold tensors: how they begin, or what stands in them."""

AVERAGED = re.compile(r"(.*[._])?(ema|swa|avg|averag\w+|teacher)([._].*)?", re.IGNORECASE)
"""Names of entries that hold an average of the weights over training, which is what is evaluated."""

USUAL = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "network_weights",
    "network",
    "net",
    "module",
    "weights",
    "weight",
    "params",
)
"""Names of entries that hold a network's weights, the usual ones first."""

WRAPPER_PARTS = re.compile(r"(^|\.)(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module|_dp_wrapped_module)(?=\.)")
"""Parts of names that compiling and sharding add, wherever they stand; no network calls a part of its own so."""

OPERATION_COUNTS = re.compile(r"(.*\.)?(total_ops|total_params)")
"""Buffers that thop, which counts operations, leaves behind in every module."""

ENTRY = "#"
"""What stands between a file and the entry to take of it: "checkpoint.pth#state_dict"."""

log = logging.getLogger("senet")


def find_state(tree: Any, text: str, entry: str | None = None) -> dict[str, Tensor]:
    """Return the tensors of a state dict that stands somewhere in plain data, under the names that its network gives them.

    Where there are several, an average over training is preferred, then an entry of a usual name; the log says which it was. What is
    left out of a state dict (counts of operations, what is no tensor) is named there too.

    Args:
        tree: the data.
        text: what errors call them.
        entry: path of the state dict, such as "model" or "model.encoder"; None = it is looked for.

    Raises:
        UsageError: if there is none, if several are alike, or if there is nothing at the path.
    """
    states = dict(_states(tree, set()))
    sizes = {path: sum(tensor.numel() for tensor in state.values()) for path, state in states.items()}
    large = [path for path, size in sizes.items() if 2 * size >= max(sizes.values())]
    if entry is not None:
        chosen = _named(states, text, entry)
    elif not states:
        raise UsageError(f"{text!r} is not a state dict, and holds none: a mapping from names to tensors is expected{_entries(tree)}")
    else:
        chosen = _preferred(large, text)
        others = [path for path in large if path != chosen]
        if others:
            choices = ", ".join(repr(f"{text}{ENTRY}{path}") for path in others)
            log.warning("%s: the weights under %r are taken; others: %s", text, printable(chosen), printable(choices))
    return _cleaned(states[chosen], text)


def _states(tree: Any, seen: set[int], path: str = "", depth: int = NESTING) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every mapping that has tensors by name, once, with its path; optimisers and the like are passed over."""
    if not isinstance(tree, Mapping) or id(tree) in seen:
        return
    seen.add(id(tree))
    own = {key: _as_tensor(value) for key, value in tree.items() if isinstance(key, str)}
    own = {key: value for key, value in own.items() if isinstance(value, Tensor)}
    if own:
        yield path, own
    for key, value in tree.items() if depth else ():
        if isinstance(key, str) and not OTHER_STATES.match(key):
            yield from _states(value, seen, f"{path}.{key}" if path else key, depth - 1)


def _as_tensor(value: Any) -> Any:
    """Return an array of NumPy, or what stands for one of a file, as a tensor; other values as they are."""
    if "numpy" in sys.modules and isinstance(value, sys.modules["numpy"].ndarray):  # nobody has an array without it
        return torch.from_numpy(value.copy()) if value.dtype.kind in "fiub" and value.dtype.isnative else None
    return value.tensor if isinstance(value, NumpyArray) else value


def _named(states: Mapping[str, Any], text: str, entry: str) -> str:
    if entry not in states:
        known = ", ".join(printable(path) for path in states if path) or "none"
        raise UsageError(f"{text!r} has no state dict under {printable(entry)!r}; it has: {known}")
    return entry


def _preferred(large: list[str], text: str) -> str:
    """Return the path of the state dict to take, of those that are about as large as the largest."""
    averaged = [path for path in large if AVERAGED.fullmatch(path)]
    usual = sorted((path for path in large if path.rpartition(".")[2] in USUAL), key=lambda path: USUAL.index(path.rpartition(".")[2]))
    found = averaged or usual or large
    if len(found) > 1 and not (averaged or usual):
        choices = ", ".join(repr(f"{text}{ENTRY}{path}") for path in found)
        raise UsageError(f"{text!r} holds several networks; say which: {printable(choices)}")
    return found[0]


def _cleaned(state: Mapping[str, Any], text: str) -> dict[str, Tensor]:
    for name, tensor in state.items():
        if (what := oddity(tensor)) is not None:
            raise UsageError(f"{text!r} is not read: {printable(name)} is {what}, not a plain tensor")
    counts = [name for name in state if OPERATION_COUNTS.fullmatch(name)]
    if counts:
        log.warning("%s: %d counts of operations are left out: %s", text, len(counts), printable(listed(counts)))
    return {WRAPPER_PARTS.sub("", name).removeprefix("."): value for name, value in state.items() if name not in counts}


def _entries(tree: Any) -> str:
    if isinstance(tree, torch.nn.Module) or not isinstance(tree, Mapping):
        return f", got {type(tree).__name__}"
    return f", and it has: {printable(', '.join(map(str, tree)))}" if tree else ", and it is empty"
