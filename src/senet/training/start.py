"""Beginning and going on: a run's folder is this process's alone, and what was saved in it is taken up."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

from senet.errors import UsageError
from senet.results.origin import check_origin, facts_of, origin_differences, origin_of, reorders
from senet.results.run_folder import ACCEPT, RunFolder, check_new, resumed_run
from senet.training.checkpoint import latest_checkpoint, read_checkpoint
from senet.training.job import Job
from senet.training.tally import Tally
from senet.weights.seal import check_sealed
from senet.weights.store import read_metadata

log = logging.getLogger("senet")


@contextmanager
def taken_up(job: Job, run: RunFolder, *, resumed: bool, accept_changes: bool) -> Iterator[None]:
    """Hold a run's folder while the block runs, and load what was saved in it.

    Args:
        job: the run, as it was built; all processes of it call this.
        run: its folder.
        resumed: whether the run was begun before.
        accept_changes: whether to go on although recipe, code, classes, images or processes are not what they were.

    Raises:
        UsageError: if another process trains there or has done so meanwhile, something is not as it was, or there is no checkpoint that can
            be used.
    """
    first = job.fabric.is_global_zero
    state = job.state
    state.origin = origin_of(job.recipe, facts_of(job.source), job.fabric.world_size, state.weights, state.compressed, state.rate)
    with run.held() if first else nullcontext():
        if first and not resumed:
            check_new(run)  # again: the folder was not held when it was looked at
        elif first:
            resumed_run(run.path, job.recipe, accept_changes=accept_changes)
        saved = latest_checkpoint(run) if first and run.has_checkpoint() else None
        job.fabric.barrier()
        if saved is None and run.checkpoint.exists():
            saved = read_checkpoint(run.checkpoint)
        if saved is not None:
            take_up(job, run, saved, accept_changes=accept_changes)
        if first:
            run.reopen()
        yield


def take_up(job: Job, run: RunFolder, saved: Mapping[str, Any], *, accept_changes: bool) -> None:
    """Load a checkpoint into a run.

    Raises:
        UsageError: if it was made of something else and that is not accepted, or it does not fit the run.
    """
    today, before = job.state.origin, saved.get("origin")
    check_origin(before, str(run.checkpoint))
    changed = [] if before is None else origin_differences(before, today)
    if changed and not accept_changes:
        raise UsageError(f"{str(run.path)!r} cannot go on as it began: {'; '.join(changed)}; put that back, or add {ACCEPT}")
    if before is not None and reorders(before, today):  # what is left of the epoch in hand would not be its other images
        saved = {**saved, "batch": 0, "tally": Tally().state_dict()}
    job.state.restore(saved, job.task.metrics[0], str(run.checkpoint))
    if job.recipe.training.out_of_memory == "halve":
        most = job.recipe.data.batch_size // job.fabric.world_size
        job.state.parts = min(most, max(job.state.parts, saved.get("parts", 1)))
    changed += _lost_best(job, run, accept_changes=accept_changes)
    if before is None and job.fabric.is_global_zero:
        log.warning("%s is of an earlier version: nothing in it tells whether recipe, classes and images are as they were", run.checkpoint)
    for line in changed:
        job.state.changes.append(f"epoch {job.state.epoch + 1}: {line}")
        if job.fabric.is_global_zero:
            log.warning("%s: %s; going on all the same", run.path, line)


def _lost_best(job: Job, run: RunFolder, *, accept_changes: bool) -> list[str]:
    """Forget the best epoch if its weights cannot be read and that is accepted; return this in words, if it is so.

    Those of a later one take their place before the checkpoint says so: of a run that ended in between, that epoch is taken again, and the
    next to end is the best, as it was unless something else has changed.

    Raises:
        UsageError: if it is not accepted, or no epoch is left to be the best.
    """
    best = job.state.best
    if best is None:
        return []
    try:
        written = read_metadata(run.weights).extra.get("epoch")
        check_sealed(run.weights)
        if isinstance(written, int) and written > best["epoch"] and job.state.epoch < job.recipe.training.epochs:
            job.state.best = None
        elif isinstance(written, int) and written != best["epoch"]:
            raise UsageError(f"{run.weights} holds the weights of epoch {written}, and epoch {int(best['epoch'])} was the best")
    except UsageError as error:
        if not accept_changes or job.state.epoch >= job.recipe.training.epochs:
            way = "train the run from its start" if job.state.epoch >= job.recipe.training.epochs else f"forget the best epoch: {ACCEPT}"
            raise UsageError(f"the best weights of {str(run.path)!r} are lost: {error}; put them back from a copy, or {way}") from error
        job.state.best = None
        return [f"the weights of epoch {int(best['epoch'])}, the best, were lost"]
    return []
