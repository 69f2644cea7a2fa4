"""Shared memory of 1 MB, which batches do not fit into, or that others fill up: one line says what to do."""

from collections.abc import Callable
from pathlib import Path

import pytest

from faults.forked import code_of, fork
from faults.own_disk import NOT_ALLOWED, mount_own
from made_runs import tiny
from senet.cli import main
from senet.data.shared_memory import FOLDER, REMEDY
from senet.results.run_folder import RunFolder
from senet.training import loop
from senet.training.job import Job
from senet.training.step import train_step

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def trained(root: Path, size: int, then: Callable[[], object], **fields: int) -> tuple[int, list[str]]:
    """Train from the command line with so many bytes of shared memory; return the exit code and the lines that were told.

    Args:
        root: folder to work in.
        size: bytes.
        then: called before the sixth step.
        **fields: of the recipe.
    """
    Path("recipe.yaml").write_text(tiny(training__epochs=2, training__save_steps=3, **fields).to_yaml())

    def work() -> int:
        def changing(job: Job, *args):
            if job.state.step == 5:
                then()
            return train_step(job, *args)

        mount_own(FOLDER, size)
        loop.train_step = changing  # this process ends soon
        return main.main(["train", "recipe.yaml", "--folder", "run", "--quiet"])

    code = code_of(fork(work, root / "told"))
    if code == NOT_ALLOWED:
        pytest.skip("a process may not mount shared memory of its own here")
    return code, (root / "told").read_text().splitlines()


def fill() -> None:
    try:
        with (FOLDER / "other").open("wb", 0) as other:
            while other.write(bytes(4096)):
                pass
    except OSError:
        pass


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_workers_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    code, told = trained(tmp_path, 1_000_000, fill, data__image_size=32, data__workers=2)
    assert code == 2, told
    (line,) = told
    assert line.startswith("senet train: data.workers 2: 2 loader processes need 5 MB of shared memory, and /dev/shm has 1 MB free; ")
    assert line.endswith(REMEDY)


def test_without_workers_it_needs_none(tmp_path: Path) -> None:
    assert trained(tmp_path, 4096, fill, data__workers=0) == (0, [])


def test_others_fill_it_up(tmp_path: Path) -> None:
    code, told = trained(tmp_path, 1_000_000, fill, data__workers=1)
    assert code == 1, told
    (line,) = told
    assert line.startswith("senet train: a worker process cannot hand over its batch for want of shared memory: /dev/shm has 1 MB, 0 MB of")
    assert f"{REMEDY}; go on with `senet train --resume run`" in line
    assert RunFolder(Path("run")).has_checkpoint()
