"""The place of a run fills up, can only be read any more, or goes: one line says so, and what was saved goes on to the same end."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from faults.forked import code_of, fork
from faults.own_disk import NOT_ALLOWED, make_read_only, mount_own
from made_runs import assert_same_run, tiny
from senet.cli import main
from senet.results.run_folder import RunFolder
from senet.results.run_lock import HOLDER, FolderLostError
from senet.training import loop
from senet.training.checkpoint import read_checkpoint
from senet.training.job import Job
from senet.training.loop import train
from senet.training.step import train_step
from senet.weights.seal import check_sealed

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

RECIPE = tiny(training__epochs=2, training__save_steps=3)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Return the run that was never hurt."""
    torch.set_num_threads(1)
    run = RunFolder(tmp_path_factory.mktemp("whole") / "run")
    train(RECIPE, folder=run.path, progress=False)
    return run


def hurt(change: Callable[[], object], step: int = 5) -> int:
    """Train from the command line and let something happen before a step; return the exit code."""

    def hurting(job: Job, *args):
        if job.state.step == step:
            change()
        return train_step(job, *args)

    loop.train_step = hurting  # this process ends soon
    Path("recipe.yaml").write_text(RECIPE.to_yaml())
    return main.main(["train", "recipe.yaml", "--folder", "disk/run", "--quiet"])


def hurt_on_own_disk(root: Path, change: Callable[[], object]) -> str:
    """Do so on a disk of 8 MB, of which a copy stays as "left"; return the line that was told."""

    def work() -> int:
        mount_own(root / "disk", 8_000_000)
        code = hurt(change)
        shutil.copytree("disk/run", "left")
        return code

    (root / "disk").mkdir()
    code = code_of(fork(work, root / "told"))
    if code == NOT_ALLOWED:
        pytest.skip("a process may not mount a disk of its own here")
    told = (root / "told").read_text()
    assert code == 1, told
    (line,) = told.splitlines()
    return line


def check_goes_on(run: RunFolder, whole: RunFolder) -> None:
    assert read_checkpoint(run.checkpoint)["epoch"] == 1
    check_sealed(run.weights)
    train(resume=run.path, progress=False)
    assert_same_run(run.path, whole.path)
    assert {path.name for path in run.path.iterdir()} == {path.name for path in whole.path.iterdir()}, "nothing is left behind"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fill() -> None:
    with open("disk/other", "wb") as other:  # noqa: PTH123 - to be left half written
        try:
            while True:
                other.write(bytes(10_000))
                other.flush()
        except OSError:
            pass


def test_a_disk_that_is_full(folder: Path, whole: RunFolder) -> None:
    line = hurt_on_own_disk(folder, fill)
    assert line.startswith("senet train: cannot write disk/run/last.ckpt: No space left on device, 0 MB free there; nothing was replaced.")
    check_goes_on(RunFolder(folder / "left"), whole)


def test_a_disk_that_can_only_be_read_any_more(folder: Path, whole: RunFolder) -> None:
    line = hurt_on_own_disk(folder, lambda: make_read_only(folder / "disk"))
    assert line.startswith("senet train: cannot write disk/run/last.ckpt: Read-only file system; nothing was replaced. See that it can be")
    check_goes_on(RunFolder(folder / "left"), whole)


@pytest.mark.parametrize("save_steps", [3, None], ids=["saving", "at the end of an epoch"])
def test_a_folder_that_is_removed_is_one_line_and_does_not_come_back_in_part(
    folder: Path, monkeypatch: pytest.MonkeyPatch, save_steps: int | None
) -> None:
    def removing(job: Job, *args):
        if job.state.step == 5:
            shutil.rmtree("run")
        return train_step(job, *args)

    monkeypatch.setattr(loop, "train_step", removing)
    with pytest.raises(FolderLostError, match=r"^'run' was removed, or its recipe\.yaml, while it was trained: nothing more can be saved"):
        train(tiny(training__save_steps=save_steps), folder="run", progress=False)
    assert not Path("run").exists()


def test_a_folder_that_another_process_took(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def taking(job: Job, *args):
        if job.state.step == 5:
            Path("run", HOLDER).write_text('{"pid": 1, "host": "node7"}')
        return train_step(job, *args)

    monkeypatch.setattr(loop, "train_step", taking)
    with pytest.raises(FolderLostError, match=r"^another process has taken 'run', pid 1 on node7: this one writes nothing"):
        train(RECIPE, folder="run", progress=False)
    assert Path("run", HOLDER).exists()
    assert read_checkpoint(Path("run", "last.ckpt"))["epoch"] == 1
