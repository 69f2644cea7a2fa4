"""Which part of a network a reading belongs to: a clock or a counter, read whenever a part begins or ends."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TypeVar

from torch import nn

Reading = TypeVar("Reading")
Log = list[tuple[str, Reading]]
"""(path of the part that ran until the reading, reading); the first entry is the reading at the start. "" is the network itself."""


def record_readings(run: Callable[[], object], model: nn.Module, paths: Collection[str], read: Callable[[], Reading]) -> Log[Reading]:
    """Take a reading whenever a part of a network begins or ends.

    Args:
        run: passes images through the model.
        model: the network.
        paths: the parts to watch.
        read: what to read: a clock, or a counter.
    """
    running = [""]
    log: Log[Reading] = []

    def begin(path: str) -> None:
        log.append((running[-1], read()))
        running.append(path)

    def end() -> None:
        log.append((running.pop(), read()))

    with _hooks(model, paths, begin, end):
        log.append(("", read()))
        run()
        log.append(("", read()))
    return log


def growth_by_part(log: Sequence[tuple[str, float]]) -> dict[str, float]:
    """Add up, for each part, how much the reading grew while the part itself ran."""
    totals: dict[str, float] = {}
    for (_, before), (path, after) in pairwise(log):
        totals[path] = totals.get(path, 0) + after - before
    return totals


@contextmanager
def _hooks(model: nn.Module, paths: Collection[str], begin: Callable[[str], None], end: Callable[[], None]) -> Iterator[None]:
    modules = {path: model.get_submodule(path) for path in paths if path}
    handles = [module.register_forward_pre_hook(lambda *_, path=path: begin(path)) for path, module in modules.items()]
    handles += [module.register_forward_hook(lambda *_: end()) for module in modules.values()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
