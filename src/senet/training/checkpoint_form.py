"""What a checkpoint must hold to be taken up by a run: its position and records, and the state of each part as that part has it."""

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from senet.errors import UsageError
from senet.results.origin import ORIGIN
from senet.results.tables import TOLD
from senet.schema import Requirement, brief, finite, integer, items, optional, place_of, record, table, text

_NUMBER = Requirement("a number", lambda value: type(value) in (int, float))
"""Also one that is not finite: a figure of an epoch may be."""

_ANYTHING = Requirement("anything", lambda value: True)
_COUNT = integer(0, 2**53)
_NAME = text(4096, low=1)
_TALLY = record({"sums": table(_NAME, finite()), "images": _COUNT, "seconds": finite(0)}, needed=("sums", "images", "seconds"))
_FIRST_TALLY = record(
    {"loss": finite(), "hits": _COUNT, "images": _COUNT, "seconds": finite(0)}, needed=("loss", "hits", "images", "seconds")
)
"""The tally of format 1."""

MOST_EPOCHS = 10**6

OPTIMIZER_STATE: dict[type[torch.optim.Optimizer], tuple[tuple[str, ...], tuple[str, ...]]] = {
    torch.optim.SGD: (("momentum_buffer",), ()),
    torch.optim.AdamW: (("exp_avg", "exp_avg_sq"), ("step",)),
}
"""Kind of optimiser -> what it keeps of a parameter: in its shape, and as counts."""


def check_state(saved: Mapping[str, Any], parts: Mapping[str, Any], columns: Collection[str], place: str) -> None:
    """Check what was read of a checkpoint.

    Args:
        saved: the checkpoint.
        parts: name -> each part of the run, as it is now; "optimizer" among them.
        columns: names that each row of metrics needs.
        place: the file, as errors name it.

    Raises:
        UsageError: in one line, for the first thing that is missing or wrong.
    """
    tally = saved.get("tally")
    row = record(dict.fromkeys(columns, _NUMBER), needed=columns, others=_NUMBER)
    record(
        {
            "format": integer(1, 100),
            "epoch": integer(0, MOST_EPOCHS),
            "batch": _COUNT,
            "parts": integer(1, 2**53),
            "tally": _FIRST_TALLY if isinstance(tally, Mapping) and "hits" in tally else _TALLY,
            "rows": items(row, high=MOST_EPOCHS),
            "best": optional(row),
            "best_told": optional(TOLD),
            "corrupt": items(_NAME, high=10**9),
            "skipped": _COUNT,
            "origin": optional(ORIGIN),
            "changes": items(text(10_000), high=MOST_EPOCHS),
        },
        needed=("epoch", "batch", "tally", "rows", "best", "corrupt", *parts),
        others=_ANYTHING,
    ).check(saved, place)
    if saved["batch"] > (steps := parts["schedule"].steps_per_epoch):
        raise UsageError(f"{place}: batch: there are {steps} in an epoch, and {saved['batch']} are done")
    rows, best = saved["rows"], saved["best"]
    if len(rows) != saved["epoch"] or (best is None) != (not rows) or any(row.keys() != rows[0].keys() for row in rows):
        raise UsageError(f"{place}: rows of {len(rows)} epochs, but {saved['epoch']} are done, or rows that differ in their columns")
    for name, part in parts.items():
        if name == "optimizer":
            check_optimizer(saved[name], part, place_of(name, place))
        else:
            _check_form(saved[name], part.state_dict(), place_of(name, place))


def _check_form(saved: Any, own: Any, place: str) -> None:
    """Raise UsageError unless two states are alike but for their numbers: same names, types and shapes."""
    if isinstance(own, Mapping):
        if not isinstance(saved, Mapping) or saved.keys() != own.keys():
            raise UsageError(f"{place} does not fit the run: {_names(saved, own)}")
        for name, value in own.items():
            _check_form(saved[name], value, place_of(name, place))
    elif isinstance(own, Tensor):
        if not isinstance(saved, Tensor) or (saved.shape, saved.dtype, saved.layout) != (own.shape, own.dtype, own.layout):
            raise UsageError(f"{place} does not fit the run: it needs {_tensor(own)}, got {_tensor(saved)}")
    elif type(saved) is not type(own) and not (type(own) is float and type(saved) is int):
        raise UsageError(f"{place} does not fit the run: it needs {type(own).__name__}, got {brief(saved)}")


def check_optimizer(saved: Any, own: torch.optim.Optimizer, place: str) -> None:
    """Raise UsageError unless the state of an optimiser is for the run's parameters; its options come from the recipe."""
    shaped, counts = next(kept for kind, kept in OPTIMIZER_STATE.items() if isinstance(own, kind))
    groups = items(record({"params": items(_COUNT, high=10**6)}, needed=("params",), others=_ANYTHING))
    states = table(_COUNT, record(dict.fromkeys((*shaped, *counts), _ANYTHING)), high=10**6)
    record({"state": states, "param_groups": groups}, needed=("state", "param_groups")).check(saved, place)
    if [group["params"] for group in saved["param_groups"]] != [group["params"] for group in own.state_dict()["param_groups"]]:
        raise UsageError(f"{place} does not fit the run: it was for other groups of parameters")
    parameters = [parameter for group in own.param_groups for parameter in group["params"]]
    for index, kept in saved["state"].items():
        values = [kept.get(name) for name in shaped]
        if index >= len(parameters) or not all(_has_shape(value, parameters[index].shape, optional=not counts) for value in values):
            found = [tuple(getattr(value, "shape", ())) for value in values]
            raise UsageError(f"{place} does not fit the run: parameter {index} is not of shape {', '.join(map(str, found))}")
        if not all(_has_shape(kept.get(name), torch.Size()) for name in counts):
            raise UsageError(f"{place} does not fit the run: parameter {index} has no count of its steps")


def _has_shape(value: Any, shape: torch.Size, *, optional: bool = False) -> bool:
    return (value is None and optional) or (isinstance(value, Tensor) and value.shape == shape)


def _names(saved: Any, own: Mapping[str, Any]) -> str:
    if not isinstance(saved, Mapping):
        return f"it needs a mapping, got {brief(saved)}"
    missing, strange = ([key for key in one if key not in other] for one, other in ((own, saved), (saved, own)))
    return f"it lacks {brief(missing[0])}" if missing else f"it has {brief(strange[0])}, which the run has not"


def _tensor(value: Any) -> str:
    return f"{str(value.dtype).removeprefix('torch.')} of shape {tuple(value.shape)}" if isinstance(value, Tensor) else brief(value)
