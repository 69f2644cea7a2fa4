"""Processes that a command asks for: which can be, what ends them, and that a run of them is the one that torchrun starts."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from made_runs import assert_same_run, tiny, train_by_two
from process_ends import until
from senet.errors import UsageError
from senet.results.run_folder import RunFolder
from senet.training.launch import Processes, check_devices

SENET = [sys.executable, "-m", "senet", "train"]
GRACE = 30.0
"""Seconds after which launchers kill what they told to end."""
SMALL = {"training__epochs": 1, "data__batch_size": 64, "data__workers": 0}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--devices", "0"], "--devices must be at least 1, got 0"),
        (["--nodes", "-1"], "--nodes must be at least 1, got -1"),
        (["--nodes", "2"], "--nodes 2 needs --rdzv-endpoint HOST:PORT"),
        (["--rdzv-endpoint", "a:1"], "--rdzv-endpoint a:1 is where several machines meet: say how many with --nodes"),
        (["--nodes", "2", "--rdzv-endpoint", "node1"], "--rdzv-endpoint must be HOST:PORT, such as node1:29400, got 'node1'"),
        (["--nodes", "2", "--rdzv-endpoint", "node1:99999"], "must be HOST:PORT"),
        (["--devices", "2", "--max-restarts", "-1"], "--max-restarts must be at least 0, got -1"),
        (["--max-restarts", "2"], "--max-restarts 2 is for several processes of one run: say how many with --devices"),
        (["--devices", "3"], "data.batch_size 128 must be a multiple of the 3 processes that share it"),
        (["--devices", "2", "--training.accumulate", "65"], "takes the 64 images of each of 2 processes in parts: at most 64 of them"),
        (["--devices", "2", "--nodes", "3", "--rdzv-endpoint", "a:1"], "data.batch_size 128 must be a multiple of the 6 processes"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_is_one_line_before_anything_is_started(
    tmp_path: Path, refused: Callable[..., str], words: list[str], message: str
) -> None:
    assert message in refused("train", "digits", "--batch_size", "128", "--out", str(tmp_path / "runs"), *words)
    assert not list(tmp_path.iterdir())


def test_flags_that_a_launcher_contradicts_are_refused(monkeypatch: pytest.MonkeyPatch, refused: Callable[..., str]) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert "the flags ask for 2 processes, and a launcher has started 4" in refused("train", "digits", "--devices", "2")


def test_no_more_processes_than_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    check_devices(2)
    with pytest.raises(UsageError, match="4 processes need a GPU each, and this machine has 2"):
        Processes(4).check(tiny())


def begin(folder: Path, *words: str) -> subprocess.Popen[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    return subprocess.Popen([*SENET, *words], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_run_of_two_devices_is_that_of_torchrun(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(tiny(**SMALL).to_yaml())
    process = begin(tmp_path, "tiny.yaml", "--devices", "2", "--folder", "own", "--json")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert json.loads(out)["epochs"] == 1
    train_by_two(["tiny.yaml", "--folder", "torchrun"], tmp_path)
    assert_same_run(tmp_path / "own", tmp_path / "torchrun")
    assert json.loads((tmp_path / "own" / "environment.json").read_text())["processes"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_a_notice_to_the_launcher_saves_in_time_once_said_and_its_code_says_so(tmp_path: Path, signum: signal.Signals) -> None:
    (tmp_path / "tiny.yaml").write_text(tiny(**SMALL | {"training__epochs": 1000, "training__save_steps": 1}).to_yaml())
    process = begin(tmp_path, "tiny.yaml", "--devices", "2", "--folder", "run")
    run = RunFolder(tmp_path / "run")
    until(lambda: run.has_checkpoint() or process.poll() is not None, 120)
    began = time.monotonic()
    process.send_signal(signum)
    _, err = process.communicate(timeout=120)
    assert (taken := time.monotonic() - began) < GRACE, f"{taken:.1f} s from {signum.name} to the end"
    assert process.returncode == 128 + signum, err
    assert err.count(f"interrupted by {signum.name}; go on with `senet train --resume run --devices 2`") == 1
    assert "Traceback" not in err
    assert run.has_checkpoint()


@pytest.mark.slow
def test_a_mistake_ends_all_with_its_code_and_is_said_once(tmp_path: Path) -> None:
    process = begin(tmp_path, "digits", "--devices", "2", "--data.batch_size", "128", "--training.freeze_bn_epochs", "99")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert err.count("senet train: ") == err.count("training.freeze_bn_epochs 99 cannot exceed training.epochs") == 1
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())
