"""The soak hurts runs, tells those that come to another end, and sees what grows."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from benchmarks.soak.__main__ import is_sound, main, same
from benchmarks.soak.command import lives, processes_below
from benchmarks.soak.faults import FAULTS, fill_disk, hide_image, tear_checkpoint
from benchmarks.soak.flatness import growth, usage

from process_ends import until
from senet.results.run_folder import RunFolder

CHANCE = random.Random(0)


def rows(memory: Sequence[float], files: Sequence[float]) -> list[dict[str, float]]:
    return [{"seconds": 60.0 * n, "rss_mb": memory[n], "files": files[n], "threads": 3.0} for n in range(len(memory))]


def test_growth_is_seen_behind_the_warm_up() -> None:
    found = growth(rows([100.0, 200, 300, 400, 500, 600, 700, 800, 800, 800] + [800.0, 801.0] * 13, [18.0] * 36))
    assert [kind["flat"] for kind in found.values()] == [True] * 3
    assert abs(found["rss_mb"]["an_hour"]) < 30
    found = growth(rows([800 + 20.0 * n for n in range(36)], [18.0] * 23 + [19.0] * 13))
    assert [kind["flat"] for kind in found.values()] == [False, False, True]
    assert found["rss_mb"]["an_hour"] == pytest.approx(1200)
    assert growth(rows([1, 2], [3, 4])) == {}


def test_usage_is_that_of_the_process() -> None:
    before = usage(os.getpid())
    with Path(__file__).open():
        now = usage(os.getpid())
    assert now["files"] == before["files"] + 1
    assert now["threads"] >= 1
    assert now["rss_mb"] > 50


def test_ends_are_compared_to_the_bit_but_for_times() -> None:
    end: Any = ({"w": torch.ones(2)}, {"step": 3, "tally": {"seconds": 1.0, "loss": [0.5]}})
    other: Any = ({"w": torch.ones(2)}, {"step": 3, "tally": {"seconds": 9.0, "loss": [0.5]}})
    assert same(end, other)
    other[0]["w"][1] += 1e-7
    assert not same(end, other)
    assert not same({"a": [1]}, {"a": [1, 2]})
    assert not same({"a": 1}, {"b": 1})


def test_faults_hurt_and_are_undone(tmp_path: Path) -> None:
    sleeper = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read(1); open('big', 'wb').write(bytes(100_000))"]
    with subprocess.Popen(sleeper, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.pid in processes_below(os.getpid())
        assert process.stdout is not None
        process.stdout.readline()
        run = RunFolder(tmp_path / "run")
        training: Any = SimpleNamespace(process=process, look=list, run=run)
        fill_disk(training, tmp_path, CHANCE)
        assert b"File too large" in process.communicate(b"x")[1]
    (tmp_path / "train" / "0").mkdir(parents=True)
    image = tmp_path / "train" / "0" / "a.png"
    image.touch()
    back = hide_image(training, tmp_path, CHANCE)
    assert not image.exists()
    back()
    assert image.exists()
    run.path.mkdir()
    for path in (run.checkpoint, run.previous):
        path.write_bytes(bytes(100))
    with subprocess.Popen(["sleep", "60"]) as process:
        training.process = process
        tear_checkpoint(training, tmp_path, CHANCE)()
        assert process.wait() == -signal.SIGKILL
        assert until(lambda: not lives(process.pid))
    assert (run.checkpoint.stat().st_size, run.previous.stat().st_size) == (50, 100)


def test_what_is_not_sound_is_told() -> None:
    flat = {"rss_mb": {"flat": True}}
    sound = {"wrong": [], "stuck": [], "undisturbed": {"growth": flat, "exit_code": 143}}
    assert is_sound(sound)
    assert not is_sound({**sound, "wrong": [{}]})
    assert not is_sound({**sound, "undisturbed": {"growth": {"files": {"flat": False}}, "exit_code": 143}})
    assert not is_sound({**sound, "undisturbed": {"growth": flat, "exit_code": None}})


@pytest.mark.slow
def test_half_a_minute_is_sound(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--minutes", "0.5", "--out", str(tmp_path)]) == 0, capsys.readouterr().out
    (path,) = tmp_path.iterdir()
    found = json.loads(path.read_text())
    assert found["sound"]
    assert sum(found["runs"].values()) >= 1
    assert found["faults"].keys() == FAULTS.keys()
    assert sum(fault["tried"] for fault in found["faults"].values()) == sum(fault["survived"] for fault in found["faults"].values())
