"""Who trains what: runs that another process holds are left to it, waited for, and taken over when it dies."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from filelock import FileLock

from made_results import make_result
from made_runs import assert_same_run, tiny
from process_ends import SECONDS
from senet.comparison.missing import train_in_turn, train_missing
from senet.comparison.result_files import ResultFiles
from senet.comparison.worker import RunOrder
from senet.errors import UsageError
from senet.results.origin import read_origin
from senet.results.run_folder import RunFolder
from senet.training.progress import Progress


def order(folder: Path, label: str, **changes) -> RunOrder:
    return RunOrder(label, tiny(**({"training__epochs": 1} | changes)), RunFolder(folder / label))


@contextmanager
def held_by_another(folder: Path) -> Iterator[FileLock]:
    """Hold a folder as another process does."""
    folder.mkdir(exist_ok=True)
    with FileLock(folder / ".lock") as lock:
        (folder / ".holder.json").write_text(json.dumps({"pid": 4711, "host": "node7"}))
        yield lock


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_run_that_another_process_trains_comes_last_and_is_taken_over(
    tmp_path: Path, jobs: int, capfd: pytest.CaptureFixture[str]
) -> None:
    held, free = order(tmp_path, "held"), order(tmp_path, "free", seed=1)
    awaited = ["held: another process trains it, pid 4711 on node7", "free  epoch 1/1"]
    with held_by_another(held.run.path) as lock:

        class Watched(Progress):
            def print(self, line: str) -> None:
                super().print(line)
                awaited[:] = [start for start in awaited if not line.startswith(start)]
                if not awaited and lock.is_locked:
                    assert not held.run.exists()
                    lock.release()  # as the system does when the other one dies

        with Watched(2) as progress:
            train_missing([[held, free]], progress, jobs=jobs)
    assert held.run.is_finished()
    assert free.run.is_finished()
    assert capfd.readouterr().err.count("held: another process trains it, pid 4711 on node7\n") == 1


def test_a_run_that_another_process_has_finished_is_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = order(tmp_path, "one")
    train_in_turn([one], Progress())
    before = one.run.weights.stat().st_mtime_ns
    train_in_turn([one], Progress())
    assert one.run.weights.stat().st_mtime_ns == before
    assert capsys.readouterr().err.endswith("one: done before\n")


def test_a_launchers_variables_are_for_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker of Ray or a task of SLURM has whatever was set where it was started."""
    one = order(tmp_path, "one")
    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1", "SLURM_NTASKS": "2", "SLURM_PROCID": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="unset WORLD_SIZE"):
        one.train(Progress(enabled=False))
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("WORLD_SIZE", "1")
    one.train(Progress(enabled=False))
    assert (read_origin(one.run) or {})["processes"] == 1


def comparing(out: Path, log: Path) -> "subprocess.Popen[str]":
    words = [*("digits", "--epochs", "4", "--image_size", "4", "--batch_size", "256"), "--seeds", "2", "--json", "--out", str(out)]
    command = [sys.executable, "-m", "senet.cli.main", "compare", *words]
    with log.open("w") as told:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=told, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


def runs_in(out: Path) -> list[Path]:
    return sorted(path.parent for path in out.glob("compare-digits/*-seed*/result.json"))


def holder_of(path: Path) -> int | None:
    with suppress(FileNotFoundError):  # its run has just ended
        return json.loads(path.read_text())["pid"]
    return None


@pytest.mark.slow
def test_two_processes_share_a_comparison_and_the_one_that_is_left_ends_it(tmp_path: Path) -> None:
    """Three begin together; one is killed in the middle of a run, and the runs and results of the others are those of one alone."""
    alone = comparing(tmp_path / "alone", tmp_path / "alone.log")
    reference = json.loads(alone.communicate(timeout=5 * SECONDS)[0])
    out = tmp_path / "shared"
    several = [comparing(out, tmp_path / f"{place}.log") for place in range(3)]
    killed = several[0]
    while not (begun := [path for path in out.glob("*/*/.holder.json") if holder_of(path) == killed.pid]):
        assert killed.poll() is None
    while not RunFolder(begun[0].parent).has_checkpoint():
        assert killed.poll() is None
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    told = [json.loads(process.communicate(timeout=5 * SECONDS)[0]) for process in several[1:]]
    assert [process.returncode for process in several[1:]] == [0, 0]
    assert told[0] == told[1], "one has made the result, the other has taken it"
    assert told[0] == json.loads((out / "compare-digits" / "result.json").read_text())
    for name in ("metrics", "difference"):
        assert [variant[name] for variant in told[0]["variants"]] == [variant[name] for variant in reference["variants"]]
    for mine, theirs in zip(runs_in(out), runs_in(tmp_path / "alone"), strict=True):
        assert_same_run(mine, theirs)
    logs = [(tmp_path / f"{place}.log").read_text() for place in range(3)]
    ends = [line for log in logs for line in log.splitlines() if "epoch 4/4" in line]
    assert len({line.partition("  ")[0] for line in ends}) == len(ends) == 4, "each run was ended by one of them"


def test_a_result_that_another_has_made_meanwhile_is_taken_if_it_is_of_the_same_runs(tmp_path: Path) -> None:
    accuracies = {"plain": [98.0, 97.0], "SE": [98.5, 98.0]}
    other, mine = (ResultFiles(tmp_path, "", report=False) for _ in range(2))
    made = other.write(make_result(accuracies))
    same = (made.seeds, list(accuracies))
    assert mine.made_meanwhile(*same) == made
    assert mine.made_meanwhile((0, 1, 2), list(accuracies)) is None
    assert mine.made_meanwhile(made.seeds, ["plain", "scSE"]) is None
    assert ResultFiles(tmp_path, "", report=False).made_meanwhile(*same) is None, "it was there before"
    assert ResultFiles(tmp_path, "", report=True).made_meanwhile(*same) is None
