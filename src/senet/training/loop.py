"""The training loop, to be read from top to bottom."""

import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from senet.data.delivery import DataError, WorkerError
from senet.measuring.machine import run_environment
from senet.recipe import Recipe, load_recipe
from senet.results.origin import read_origin, write_origin
from senet.results.run import RunResult
from senet.results.run_folder import RunFolder, new_run, place_of_run, resumed_run
from senet.tasks.answers import evaluator_of
from senet.training.batchnorm import broadcast_buffers
from senet.training.evaluate import Evaluation, score
from senet.training.graphed import stepper
from senet.training.halving import again_in_parts
from senet.training.interruption import Interrupted, Interruption
from senet.training.job import Job, prepare
from senet.training.launch import resume_command
from senet.training.memory import memory_named
from senet.training.nonfinite import NonfiniteStepError, suspects
from senet.training.peers import peers_named
from senet.training.processes import agreed_signal, limited_threads, pool_names
from senet.training.progress import Progress, RunProgress
from senet.training.start import taken_up
from senet.training.step import DeviceStep, train_step
from senet.training.step_images import named_images
from senet.weights.store import save_weights


def train(
    recipe: Recipe | str | Path | None = None,
    *,
    out: str | Path = "runs",
    folder: str | Path | None = None,
    resume: str | Path | None = None,
    or_resume: bool = False,
    accept_changes: bool = False,
    progress: bool | Progress = True,
    label: str | None = None,
) -> RunResult:
    """Train a network by a recipe, or go on with a run that was interrupted.

    The same recipe gives the same weights on the same machine, interrupted or not, with any number of loader processes. The run's folder
    holds recipe.yaml, environment.json, origin.json, metrics.csv, last.ckpt (and the one before as previous.ckpt), best.safetensors and,
    once finished, result.json.

    Args:
        recipe: a recipe, its name, or a YAML file (None = digits); with `resume` it may differ from the run's only in what does not
            change the weights, unless changes are accepted.
        out: where new runs get their folder.
        folder: the new run's folder itself, instead of one below `out`.
        resume: folder of the run to go on with.
        or_resume: go on with the run of this recipe and place if it was begun before, and return its result if it is finished: for a call
            that is repeated until it succeeds.
        accept_changes: go on although recipe, code, classes, images or the number of processes are not what they were; each change is
            logged, and stands in the result. A finished run can so be trained for more epochs.
        progress: whether to show progress on stderr, or a `Progress` of several runs that is shown already.
        label: what progress calls the run; None = the recipe's name.

    Raises:
        UsageError: if the recipe cannot work, the folder holds another run, or another process trains there; nothing has been written then.
        Interrupted: after SIGINT, SIGTERM or a notice that the machine will be taken (SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU); the run can be
            resumed.
        DivergenceError: if a loss or a metric is not finite (but see `training.nonfinite`); last.ckpt, if there is one, is from before.
        MemoryExhaustedError: if there is not enough memory; the run can be resumed with smaller batches.
        NotWrittenError: if nothing can be written any more; the run can be resumed once that is put right.
        FolderLostError: if the run's folder was removed meanwhile.
        PeerLostError: if another of several processes has ended or does not answer; the run can be resumed.
        DataError: if too many images cannot be read, or worker processes fail; after the latter the run can be resumed.
    """
    run, recipe, resumed = _open_run(recipe, out, folder, resume, or_resume=or_resume, accept_changes=accept_changes)
    if resumed and run.is_finished() and or_resume:
        return run.result()
    with memory_named(recipe, run), peers_named(run):
        job = prepare(recipe, read_origin(run) if resumed and run.has_checkpoint() else None)
    state, epochs, steps = job.state, recipe.training.epochs, len(job.batches)
    shown = progress if isinstance(progress, Progress) else Progress(enabled=progress and job.fabric.is_global_zero)
    with (
        memory_named(recipe, run),
        peers_named(run),
        taken_up(job, run, resumed=resumed, accept_changes=accept_changes),
        limited_threads(job.pixels),
        nullcontext() if shown is progress else shown,
        shown.run(label or recipe.name, epochs=epochs, steps=steps, done=state.step) as bar,
        Interruption(partial(agreed_signal, job.fabric) if job.fabric.world_size > 1 else None) as interruption,
        state.writer,
    ):
        if state.compressed is not None and not state.step:
            shown.print(f"{recipe.model.compress}: {state.compressed['line']}")
        if job.fabric.is_global_zero:
            run.begin(recipe, run_environment(job.fabric.device, processes=job.fabric.world_size))
            write_origin(run, state.origin)
        try:
            step = None
            while state.epoch < epochs and not job.schedule.exhausted:
                job.training_mode()
                if step is None or state.epoch in job.turns:
                    step = stepper(job, job.wrap())
                train_epoch(job, step, run, bar, interruption)
                finish_epoch(job, run, bar, interruption)
        except Interrupted as interrupted:
            if not interrupted.alone:
                state.save(run)
            raise Interrupted(interrupted.signum, _advice(run, alone=interrupted.alone)) from None
        except WorkerError as error:  # between two steps, as all that awaits a batch is
            if job.fabric.world_size == 1 and state.step:
                state.save(run)
            if not run.has_checkpoint():
                raise
            raise WorkerError(f"{error}; {_advice(run)}") from error
        finally:
            job.close()
        return finish_run(job, run)


def train_epoch(job: Job, step: DeviceStep, run: RunFolder, bar: RunProgress, interruption: Interruption) -> None:
    """Take the steps of the epoch that are still to be taken."""
    state, save_steps = job.state, job.recipe.training.save_steps
    state.begin_pass()
    for batch in interruption.guard(job.batches.epoch(state.epoch, start=state.batch)):
        for name in job.unreadable(batch.corrupt):
            bar.print(f"cannot read {job.corrupt.explained(name)}; another image takes its place")
        if not len(batch.images):
            raise DataError(
                "no image of a training batch can be read, nor any that was tried in its place; `senet doctor --data-root DIR` says why"
            )
        try:
            state.count_step(again_in_parts(job, partial(train_step, job, step, batch)), len(batch.images))
        except NonfiniteStepError as error:
            names = named_images(suspects(job, batch, error))
            bar.print(f"step {state.step + 1} is left out: its {error.what} is not finite; images: {names}")
            state.skip_step(error.what)
        if bar.due():
            state.collect()
            bar.update(state.step, state.epoch + 1, state.tally.means().get("train_loss"))
        state.writer.check()
        if save_steps and state.batch % save_steps == 0:
            state.begin_save(run)
        interruption.check()
    state.flush()


def finish_epoch(job: Job, run: RunFolder, bar: RunProgress, interruption: Interruption) -> None:
    """Validate, keep the best weights, and save where the run is."""
    state, began = job.state, time.perf_counter()
    state.writer.finish()  # no worker is forked beside its thread, and best.safetensors is no more than an epoch ahead
    found = validate(job, interruption)
    counts = state.counts()
    row = {
        "epoch": state.epoch + 1,
        "step": state.step,
        "lr": job.schedule.rate(state.step - 1),
        **counts.means(),
        "val_loss": found.metrics["loss"],
        **{metric.column: found.metrics[metric.name] for metric in found.about},
        "seconds": counts.seconds + time.perf_counter() - began,
        "images_per_second": counts.images / counts.seconds,
        "corrupt": len(job.corrupt.names),
        "skipped": state.skipped,
    }
    state.check_finite(row)
    job.schedule.observe(found.metrics["loss"])
    is_best = state.end_epoch(row, job.task.metrics[0], found.tables)
    if job.fabric.is_global_zero:
        run.check_there()
        if is_best:
            measured = {name: row[name] for name in ("epoch", *(f"val_{name}" for name in found.metrics))}
            described = {"val_metrics": [metric.to_dict() for metric in job.task.metrics]}
            palette = {} if job.source.palette is None else {"palette": list(map(list, job.source.palette))}
            save_weights(
                job.trained,
                run.weights,
                classes=job.source.classes,
                input=job.source.input,
                recipe=job.recipe.to_dict(),
                extra=measured | described | palette,
            )
        run.write_metrics(state.rows)
        run.write_tables(state.best_told, {"epoch": state.epoch, "tables": found.tables})
    state.begin_save(run)
    bar.epoch(row, job.task.metrics[0])


def validate(job: Job, interruption: Interruption) -> Evaluation:
    """Measure the network on the validation images."""
    broadcast_buffers(job.trained)
    evaluator, batches = evaluator_of(job.task, job.source, job.fabric.device), interruption.guard(job.validation)
    with job.fabric.autocast():
        found = score(job.task, [job.trained], evaluator, batches, device=job.fabric.device, corrupt=job.corrupt)
    pool_names(job.corrupt)
    return found


def finish_run(job: Job, run: RunFolder) -> RunResult:
    """Sum up the run, and mark its folder as finished."""
    rows, best = job.state.rows, job.state.best
    assert best is not None, "a run has at least one epoch"
    job.state.writer.finish()
    result = RunResult(
        folder=run.path,
        epochs=len(rows),
        best_epoch=int(best["epoch"]),
        metrics={name: best[f"val_{name}"] for name in (*(metric.name for metric in job.task.metrics), "loss")},
        final=rows[-1],
        seconds=sum(row["seconds"] for row in rows),
        about=job.task.metrics,
        changes=tuple(job.state.changes),
        weights=job.state.weights,
    )
    if job.fabric.is_global_zero:
        run.finish(result)
    job.fabric.barrier()
    return result


def _advice(run: RunFolder, *, alone: bool = False) -> str:
    if alone and not run.has_checkpoint():
        return "one process was stuck waiting for a batch, and nothing had been saved"
    return f"go on with `{resume_command(run)}`"


def _open_run(
    recipe: Recipe | str | Path | None,
    out: str | Path,
    folder: str | Path | None,
    resume: str | Path | None,
    *,
    or_resume: bool,
    accept_changes: bool,
) -> tuple[RunFolder, Recipe, bool]:
    """Return a run's folder, its recipe, and whether it was begun before."""
    recipe = load_recipe(recipe) if isinstance(recipe, str | Path) else recipe
    if resume is None:
        recipe = load_recipe("digits") if recipe is None else recipe
        begun = place_of_run(recipe, out, folder)
        if not or_resume or not begun.has_checkpoint():
            return new_run(recipe, out, folder), recipe, False
    else:
        begun = RunFolder.at(resume)
    if or_resume and begun.is_finished() and (recipe is None or begun.recipe().digest() == recipe.digest()):
        return begun, begun.recipe() if recipe is None else recipe, True
    return *resumed_run(begun.path, recipe, accept_changes=accept_changes), True
