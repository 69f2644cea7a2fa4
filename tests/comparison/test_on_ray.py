"""Runs as tasks of a real Ray cluster of this machine: what is killed goes on elsewhere, and the files are those of a quiet run."""

import json
import os
import signal
from pathlib import Path

import pytest

from made_runs import assert_same_run, tiny
from senet.comparison.missing import check_cluster, train_missing
from senet.comparison.on_ray import Share
from senet.comparison.worker import RunOrder
from senet.errors import UsageError
from senet.results.run_folder import RunFolder
from senet.training.interruption import Interrupted
from senet.training.loop import train
from senet.training.progress import Progress

H100S = {"CPU": 64.0, "GPU": 8.0, "memory": 1e12}


@pytest.mark.parametrize(
    ("machines", "jobs", "share"),
    [
        ([{"CPU": 2.0}], None, Share(1, 2, 0)),
        ([{"CPU": 8.0}, {"CPU": 6.0}], None, Share(2, 6, 0)),
        ([{"CPU": 8.0}, {"CPU": 6.0}], 3, Share(3, 3, 0)),
        ([{"CPU": 2.0}], 5, Share(5, 1, 0)),
        ([{"CPU": 0.0}, {"CPU": 6.0}, {"memory": 1e12}], None, Share(1, 6, 0)),
        ([H100S, H100S], None, Share(16, 8, 1)),
        ([H100S, {"CPU": 128.0}], 4, Share(4, 8, 1)),
        ([H100S], 20, Share(20, 2, 1 / 3)),
    ],
)
def test_a_run_gets_its_share_of_the_smallest_machine(machines: list[dict[str, float]], jobs: int | None, share: Share) -> None:
    assert Share.of(machines, jobs) == share


@pytest.mark.parametrize("machines", [[], [{"GPU": 1.0}]])
def test_a_cluster_without_room_is_refused(machines: list[dict[str, float]]) -> None:
    with pytest.raises(UsageError, match="no machine of the Ray cluster has a CPU"):
        Share.of(machines, 1)


def test_what_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"unknown cluster 'rai' .did you mean 'ray'"):
        check_cluster("rai", None)
    with pytest.raises(UsageError, match="add --cluster ray"):
        check_cluster(None, "auto")
    for address in ("127.0.0.1:1", "head", "127.0.0.1:99999"):
        with pytest.raises(UsageError, match=rf"no Ray cluster answers at '{address}': .*; --address is HOST:PORT"):
            check_cluster("ray", address)
    monkeypatch.setattr("senet.comparison.on_ray.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'senet\[cluster\]'"):
        check_cluster("ray", None)


@pytest.mark.slow
def test_a_killed_worker_and_ctrl_c_leave_the_bits_of_a_quiet_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """One of two runs loses its worker in the middle of an epoch and goes on by another; then all are interrupted, and go on again."""
    orders = [RunOrder(f"seed {seed}", tiny(seed=seed, training__epochs=8), RunFolder(tmp_path / str(seed))) for seed in range(2)]

    class Watched(Progress):
        def print(self, line: str) -> None:
            super().print(line)
            if line.startswith("seed 0  epoch 2/"):
                os.kill(int(json.loads((orders[0].run.path / ".holder.json").read_text())["pid"]), signal.SIGKILL)
            elif "another goes on" in line:
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted, match="the same command goes on"), Watched(2) as progress:
        train_missing([orders], progress, cluster="ray", jobs=2)
    assert not orders[0].run.is_finished()
    for one in orders:
        with one.run.held():  # its worker has gone
            pass
    with Progress(2) as progress:
        train_missing([orders], progress, cluster="ray", jobs=2)
    out, err = capfd.readouterr()
    assert out == ""
    assert "seed 0: its process has died; another goes on from step" in err
    assert err.count("finishing the step and saving") == 1, "one process speaks for all"
    assert [line for line in err.splitlines() if "ray" in line.lower()] == []
    for one in orders:
        train(one.recipe, folder=tmp_path / "alone" / one.label, progress=False)
        assert_same_run(one.run.path, tmp_path / "alone" / one.label)
