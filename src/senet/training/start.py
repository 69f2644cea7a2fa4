"""Beginning and going on: a run's folder is this process's alone, and what was saved in it is taken up."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from senet.results.run_folder import RunFolder, check_new, resumed_run
from senet.training.job import Job


@contextmanager
def taken_up(job: Job, run: RunFolder, *, resumed: bool) -> Iterator[None]:
    """Hold a run's folder while the block runs, and load what was saved in it.

    Args:
        job: the run, as it was built; all processes of it call this.
        run: its folder.
        resumed: whether the run was begun before.

    Raises:
        UsageError: if another process trains there or has done so meanwhile, or the checkpoint cannot be used.
    """
    first = job.fabric.is_global_zero
    with run.held() if first else nullcontext():
        if first:  # the folder was looked at before it was held
            if resumed:
                resumed_run(run.path, None)
            else:
                check_new(run)
        job.fabric.barrier()
        if run.checkpoint.exists():
            job.state.load(run.checkpoint, job.task.metrics[0])
        yield
