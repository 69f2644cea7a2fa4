"""Two processes that train as one decide together, and each that is left without the other ends with one line."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from faults.forked import code_of
from faults.ranks import fork_ranks, told
from made_runs import tiny
from senet.cli import main, speaker
from senet.data.batch import Batch
from senet.data.loaders import TrainLoader
from senet.results.run_folder import RunFolder
from senet.training import loop
from senet.training.checkpoint import read_checkpoint
from senet.training.job import Job
from senet.training.launch import PEERS_GONE
from senet.training.loop import train
from senet.training.peers import TIMEOUT_VARIABLE
from senet.training.step import train_step

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

RECIPE = tiny(training__epochs=1, training__nonfinite="skip", training__save_steps=3, data__workers=0)


def test_a_step_that_one_of_them_cannot_count_is_left_out_by_both(tmp_path: Path) -> None:
    def work(rank: int) -> None:
        epoch = TrainLoader.epoch

        def poisoned(loader: TrainLoader, number: int, start: int = 0) -> Iterator[Batch]:
            for place, batch in enumerate(epoch(loader, number, start)):
                if (rank, place) == (1, 2):
                    batch.images[5] = torch.nan
                    Path("named").write_text(f"digits train image {batch.indices[5]}")
                yield batch

        TrainLoader.epoch = poisoned  # pyright: ignore[reportAttributeAccessIssue] - this process ends soon
        train(RECIPE, folder="run", progress=rank == 0)

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        codes = [code_of(process) for process in fork_ranks(work, tmp_path)]
    said = told(tmp_path)
    assert codes == [0, 0], said
    run = RunFolder(tmp_path / "run")
    assert [row["skipped"] for row in run.metrics()] == [1]
    assert f"step 3 is left out: its loss is not finite; images: {(tmp_path / 'named').read_text()}\n" in said
    assert all(torch.isfinite(tensor).all() for tensor in read_checkpoint(run.checkpoint)["model"].values())


GO_ON = "go on with `senet train --resume run --devices 2`"
HURTS: dict[str, tuple[Callable[[], object], int, str]] = {
    "is killed": (lambda: os.kill(os.getpid(), signal.SIGKILL), -signal.SIGKILL, ""),
    "is silent": (lambda: time.sleep(600), -signal.SIGKILL, ""),
    "lost its worker": (lambda: multiprocessing.active_children()[0].kill(), 1, f"--data.workers 0; {GO_ON}"),
}
"""What becomes of the second process -> how, with which exit code it ends, and what it says last."""


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] if name == "is silent" else []) for name in HURTS])
def test_the_other_ends_with_one_line_and_what_was_saved_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    hurt, code, words = HURTS[name]
    monkeypatch.chdir(tmp_path)
    if name == "is silent":
        monkeypatch.setenv(TIMEOUT_VARIABLE, "20")
    Path("tiny.yaml").write_text(tiny(training__epochs=2, training__save_steps=3, data__workers=1).to_yaml())

    def work(rank: int) -> int:
        def hurting(job: Job, *args):
            if (rank, job.state.step) == (1, 4):
                hurt()
            return train_step(job, *args)

        loop.train_step, speaker.LEAD = hurting, 0.0  # this process ends soon
        return main.main(["train", "tiny.yaml", "--folder", "run", "--quiet"])

    left, lost = fork_ranks(work, tmp_path)
    try:
        assert code_of(left) == PEERS_GONE, told(tmp_path)
    finally:
        if name == "is silent":
            lost.kill()
    assert code_of(lost) == code, told(tmp_path)
    said = [[line for line in Path(f"told{rank}").read_text().splitlines() if "senet train: " in line] for rank in (0, 1)]
    (line,) = said[0]
    assert line.startswith("senet train: process 0 lost the others (")
    assert line.endswith(GO_ON)
    assert [line.endswith(words) for line in said[1]] == [True] * bool(words)
    assert "Traceback" not in told(tmp_path)
    assert read_checkpoint(RunFolder(Path("run")).checkpoint)["batch"] in (0, 3)


def test_another_number_of_processes_goes_on_to_the_same_weights_but_for_rounding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = tiny(training__epochs=1, training__save_steps=2, training__sync_bn=True, optim__lr=0.01, data__workers=0)

    def work(rank: int) -> None:
        def killed(job: Job, *args):
            if job.state.step == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            return train_step(job, *args)

        loop.train_step = killed  # pyright: ignore[reportAttributeAccessIssue] - this process ends soon
        train(recipe, folder="run", progress=False)

    assert [code_of(process) for process in fork_ranks(work, tmp_path)] == [-signal.SIGKILL] * 2, told(tmp_path)
    result = train(resume="run", accept_changes=True, progress=False)
    assert result.changes == ("epoch 1: processes were 2, are 1",)
    whole = train(recipe, folder="whole", progress=False)
    for name in ("step", "lr", "train_loss", "val_loss"):
        assert result.final[name] == pytest.approx(whole.final[name], rel=1e-4), name
