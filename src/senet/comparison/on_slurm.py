"""A comparison as a job array of SLURM, whose tasks run the same command and share out the runs."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import which

from senet.comparison.result_files import ResultFiles
from senet.comparison.run import Plan, opened
from senet.comparison.side_by_side import GO_ON, SECONDS_TO_LISTEN, JobError
from senet.errors import UsageError
from senet.results.comparison import Result
from senet.spec import check_positive
from senet.streams import say
from senet.training.interruption import Interrupted, Interruption

TASK = Path(__file__).with_name("slurm_task.sh")

SBATCH = {"SBATCH_SIGNAL": "USR1@180", "SBATCH_REQUEUE": "1", "SBATCH_OPEN_MODE": "append", "SBATCH_JOB_NAME": "senet"}
"""What sbatch is told unless the user's own variables say something else: to end tasks in time, and to repeat those of lost machines."""

NOT_FOR_TASKS = ("--cluster", "--jobs")
"""Flags with a value that are not for the tasks."""

SECONDS_TO_APPEAR = 60.0
"""How long a network file system may take to show a file that another machine has written."""


def submit(plan: Plan, words: Sequence[str], *, jobs: int | None = None, report: bool = True) -> Result:
    """Have a comparison made by a job array, wait for its end, and return the result.

    Resources of a task are what the variables SBATCH_PARTITION, SBATCH_GPUS, SBATCH_TIMELIMIT and so on say, as ever with sbatch.

    Args:
        plan: the comparison.
        words: those of the command, `senet compare WORDS`.
        jobs: how many tasks, each of which trains one run at a time; None = one for each run that is missing.
        report: whether there is to be a page.

    Raises:
        UsageError: as `senet.compare` does, and without SLURM.
        Interrupted: after a signal, when the array is cancelled; its runs are saved.
        JobError: if no result was made, or nothing could be submitted.
    """
    if which("sbatch") is None:
        raise UsageError("--cluster slurm needs SLURM's sbatch, and there is none here; --cluster ray or --jobs train without it")
    files = ResultFiles(plan.folder, plan.ending, report=report)
    _, runs = opened(plan, report=report)
    missing = sum(not run.is_finished() for folders in runs.values() for run in folders)
    count = max(1, missing) if jobs is None else check_positive("jobs", jobs)
    plan.folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "senet", "compare", *_without(words, NOT_FOR_TASKS)]
    with Interruption() as interruption, _submitted(command, count, plan.folder) as (job, process):
        say(f"batch job {job}: {count} tasks, which write to {plan.folder / f'slurm-{job}_*.log'}", error=True)
        while process.poll() is None:
            time.sleep(SECONDS_TO_LISTEN)
            interruption.check()
        deadline = time.monotonic() + (SECONDS_TO_APPEAR if process.returncode == 0 else 0)
        while (made := files.made_meanwhile(plan.numbers, plan.labels)) is None and time.monotonic() < deadline:
            time.sleep(SECONDS_TO_LISTEN)
            interruption.check()
    if made is None:
        log = plan.folder / f"slurm-{job}_1.log"
        raise JobError(f"batch job {job} has made no result (exit code {process.returncode}): see {log}; {GO_ON}", 1)
    return made


@contextmanager
def _submitted(command: Sequence[str], count: int, folder: Path) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """Submit an array of tasks that run a command, and yield its number and what waits for it; interrupted, cancel it."""
    output, pipe = folder.absolute() / "slurm-%A_%a.log", subprocess.PIPE
    words = ["sbatch", "--parsable", "--wait", f"--array=1-{count}", f"--output={output}", str(TASK), *command]
    with subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True, env=SBATCH | os.environ, process_group=0) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        job = process.stdout.readline().strip().partition(";")[0]
        if not job:
            raise JobError(f"sbatch has not taken the job: {' '.join(process.stderr.read().split())}", 1)
        try:
            yield job, process
        except Interrupted as stop:
            subprocess.run(["scancel", job], check=False)
            raise Interrupted(stop.signum, f"batch job {job} is cancelled; {GO_ON}") from None
        finally:
            process.terminate()


def _without(words: Sequence[str], flags: Sequence[str]) -> list[str]:
    """Return words without some flags and their values."""
    left: list[str] = []
    queue = iter(words)
    for word in queue:
        if word in flags:
            next(queue, None)
        elif word.partition("=")[0] not in flags:
            left.append(word)
    return left
