"""`senet compare` as a user meets it."""

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
from safetensors.torch import load_file

import senet.comparison.measure as measure
from senet.cli.main import main
from senet.results.run_folder import RunFolder


@pytest.fixture
def quick_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "ROUNDS", 3)


def test_table_summary_and_places_are_printed(quick_timing: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["compare", "digits", "--training.epochs", "1", "--data.batch_size", "256", "--seeds", "1", "--out", str(tmp_path)]
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert "plain" in out
    assert "One seed supports no conclusion" in out
    assert f"report: {tmp_path}/compare-digits/report.html" in out
    assert "SE, seed 1/1  epoch 1/1" in err
    assert main([*words, "--json", "--no-report"]) == 0
    out, err = capsys.readouterr()
    assert [variant["label"] for variant in json.loads(out)["variants"]] == ["plain", "SE"]
    assert "SE, seed 1/1: done before" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["digts"], "did you mean 'digits'"),
        (["--vary", "blok=none,se"], "did you mean"),
        (["--vary", "block=se"], "one variant only"),
        (["--vary", "block=none,se", "--vary", "model.block=se"], "varied twice"),
        (["--seeds", "0"], "seeds must be an integer of at least 1, got 0"),
        (["--seed", "3", "--seeds", "three"], "three"),
        (["--jobs", "0"], "jobs must be an integer of at least 1, got 0"),
        (["--vary", "reduction=0,2"], "reduction must be an integer of at least 1"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(words: list[str], message: str, tmp_path: Path, refused: Callable[..., str]) -> None:
    assert message in refused("compare", *words, "--out", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_interrupted_comparison_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "senet.cli.main", "compare", "digits", "--training.epochs", "4", "--seeds", "1", "--no-report", "--out"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([*words, str(tmp_path / "whole")], check=True, capture_output=True, env=environment)

    command = [*words, str(tmp_path / "cut")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("SE") and "epoch 1/4" in line:  # the second run, in the middle of its second epoch
                time.sleep(0.2)
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
    assert process.returncode == 130, rest
    assert "the same command goes on" in rest
    again = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    assert "plain, seed 1/1: done before" in again.stderr
    assert "epoch 1/4" not in again.stderr

    whole, cut = (sorted((tmp_path / name / "compare-digits").glob("*-seed0-*")) for name in ("whole", "cut"))
    assert len(whole) == len(cut) == 2
    for one, other in zip(whole, cut, strict=True):
        want, got = load_file(RunFolder(one).weights), load_file(RunFolder(other).weights)
        assert want.keys() == got.keys()
        assert all(torch.equal(want[name], got[name]) for name in want)
