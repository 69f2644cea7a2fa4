"""The runs that a comparison still needs, and their training: here one after the other, or several at a time."""

from collections import deque
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from senet.comparison.on_ray import check_ray, ray_cluster, train_on_ray
from senet.comparison.reuse import recipes_of, run_folders
from senet.comparison.side_by_side import GO_ON, train_side_by_side
from senet.comparison.variants import Variant
from senet.comparison.worker import RunOrder
from senet.errors import UsageError, choice_error
from senet.results.run_lock import HeldError
from senet.training.interruption import Interrupted
from senet.training.progress import Progress

RAY = "ray"
"""The engine that trains on several machines."""


def orders_of(variants: Sequence[Variant], seeds: Sequence[int], folder: Path, progress: Progress) -> list[list[RunOrder]]:
    """Return the runs that are not finished, seed by seed, so that an early end leaves whole pairs; finished ones are shown as skipped.

    Returns:
        First what begins from its recipe, then what begins from a run of that, and so on.
    """
    orders: dict[int, list[RunOrder]] = {generation: [] for generation in range(1 + max(variant.generation for variant in variants))}
    runs = run_folders(variants, seeds, folder)
    for place, variant in product(range(len(seeds)), variants):
        run, label = runs[variant.label][place], f"{variant.label}, seed {place + 1}/{len(seeds)}"
        if run.is_finished():
            progress.skip(label)
        else:
            orders[variant.generation].append(RunOrder(label, recipes_of(variant, seeds, folder)[place], run))
    return list(orders.values())


def train_missing(
    orders: Sequence[Sequence[RunOrder]],
    progress: Progress,
    *,
    jobs: int | None = None,
    cluster: str | None = None,
    address: str | None = None,
) -> None:
    """Train runs, each list of them when the one before is done; see `senet.compare` for who trains them."""
    if cluster == RAY and any(orders):
        with ray_cluster(address):
            for together in orders:
                train_on_ray(together, jobs, progress)
        return
    for together in orders:
        count = min(jobs or 1, len(together))
        if count > 1:
            train_side_by_side(together, count, progress)
        else:
            train_in_turn(together, progress)


def check_cluster(cluster: str | None, address: str | None) -> None:
    """Raise UsageError unless runs can be trained on a cluster of this kind; None = on this machine."""
    if cluster not in (None, RAY):
        raise choice_error("cluster", cluster, [RAY])
    if address is not None and cluster is None:
        raise UsageError(f"the address {address!r} is that of a Ray cluster: add --cluster ray (in Python: cluster='ray')")
    if cluster == RAY:
        check_ray(address)


def train_in_turn(orders: Sequence[RunOrder], progress: Progress) -> None:
    """Train runs in this process, in their order; what another process trains comes last, and is taken over if that one dies."""
    waiting = deque(orders)
    while waiting:
        order = waiting.popleft()
        try:
            order.train(progress)
        except HeldError as held:
            waiting.append(order.after(held, progress))
        except Interrupted as stop:
            raise Interrupted(stop.signum, GO_ON) from None
