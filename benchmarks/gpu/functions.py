"""The functions that are timed: forms of a network, by how PyTorch runs them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import torch

from benchmarks.gpu.place import Found, Place
from senet.benchmarking.engines import ENGINES
from senet.benchmarking.run import Candidates
from senet.benchmarking.workload import Workload
from senet.errors import reason_of
from senet.measuring.device import synchronize
from senet.measuring.steps import InferenceStep, TrainingStep

Step = TrainingStep | InferenceStep
WARM_UP = 3
"""Steps before a capture."""


@dataclass(frozen=True)
class Replay:
    """Step that a CUDA graph repeats.

    Args:
        step: what was captured; held, for the graph reads the weights and images by their addresses.
        graph: the graph.
        repeats: how often it is started before the device is waited for.
    """

    step: Step
    graph: torch.cuda.CUDAGraph
    repeats: int = 1

    def __call__(self) -> None:
        """Take the steps, and wait for their end."""
        for _ in range(self.repeats):
            self.graph.replay()
        synchronize(self.step.inputs[0].device)


def captured(step: Step, repeats: int = 1) -> Callable[[], object]:
    """Return a step as one CUDA graph, its tails by Triton unless it says otherwise; elsewhere than on CUDA the step itself."""
    device = step.inputs[0].device
    if device.type != "cuda":
        return step.__call__
    step = replace(step, tails=step.tails or "triton")
    aside, pool = _of_captures()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(WARM_UP):
            step.begin()
    torch.cuda.current_stream().wait_stream(aside)
    torch.cuda.empty_cache()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=pool, stream=aside):
        step.begin()
    return Replay(step, graph, repeats)


@cache
def _of_captures() -> tuple[torch.cuda.Stream, Any]:
    """Return the stream of warm-ups and captures, and the memory that all graphs share: none finds there what another has left."""
    return torch.cuda.Stream(), torch.cuda.graph_pool_handle()


def compiled(step: Step) -> Callable[[], object]:
    """Return a step whose network torch.compile runs."""
    return replace(step, model=torch.compile(step.model, dynamic=False)).__call__  # pyright: ignore[reportArgumentType]


MODIFIERS: dict[str, Callable[[Step], Callable[[], object]]] = {"": lambda step: step, "graph": captured, "compiled": compiled}
"""Last word of a row -> what is made of the step."""


def row_function(work: Workload, row: str) -> Callable[[], object]:
    """Return the function of a row "form engine [modifier]", run once."""
    form, engine, *modifier = row.split()
    kind = next(name for name in work.forms if name != "plain") if form != "plain" else form
    step = ENGINES[engine].build(work, kind)
    function = MODIFIERS[modifier[0]](step) if modifier and isinstance(step, Step) else step  # else: not of PyTorch
    function()
    return function if not modifier and engine in ("eager", "fused", "timm") else function.__call__  # memory is that of eager steps


def rows_of(work: Workload, rows: Sequence[str]) -> tuple[Candidates, dict[str, str]]:
    """Build the rows of a table; one that cannot be built, or run again once all are, is left out, with its reason.

    Returns:
        the functions, and row -> reason.
    """
    functions: dict[str, Callable[[], object]] = {}
    failed: dict[str, str] = {}

    def tried(row: str, make: Callable[[], Callable[[], object]]) -> None:
        try:
            functions[row] = make()
        except Exception as error:  # an engine's own, of any kind: the others are measured all the same
            functions.pop(row, None)
            failed[row] = f"{type(error).__name__}: {reason_of(error, 300)}"

    for row in rows:
        tried(row, partial(row_function, work, row))
    for row, function in list(functions.items()):
        tried(row, partial(_run, function))
    return Candidates(functions), failed


def _run(function: Callable[[], object]) -> Callable[[], object]:
    function()
    return function


def compared(place: Place, work: Workload, rows: Sequence[str]) -> dict[str, Any]:
    """Measure the rows of a table, ready for JSON."""
    candidates, failed = rows_of(work, rows)
    if not candidates.functions:
        return {"failed": failed}
    return place.measured(candidates, work.about, work.settings.mode).to_dict() | {"failed": failed}


def tables(place: Place, key: str, work: Workload, groups: Sequence[Sequence[str]]) -> Iterator[Found]:
    """Yield a table after each group of its rows, so that what has been measured stays where time ends.

    The first row is measured again beside each group, so that ratios to it are of functions that ran in turn; its first figures stand.
    """
    found: dict[str, Any] = {}
    first = groups[0][0]
    for rows in groups:
        more = compared(place, work, list(dict.fromkeys((first, *rows))))
        found = found | {
            name: {**value, **found.get(name, {})} if isinstance(value, dict) else found.get(name, value) for name, value in more.items()
        }
        yield key, found
