import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "benchmarks.run", *words], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_training_step_is_measured_and_written_down(tmp_path):
    done = run("training_step", "--rounds", "1", "--threads", "1", "--out", str(tmp_path))
    assert done.returncode in (0, 1), done.stderr  # 1: slower than promised, which one round on a busy machine cannot tell
    (path,) = tmp_path.iterdir()
    found = json.loads(path.read_text())
    assert found["benchmark"] == "training_step"
    assert (found["base"], found["limit"], found["threads"]) == ("pytorch", 1.05, 1)
    assert set(found["timings"]) == {"pytorch", "senet"}
    assert 0.5 < found["ratios"]["senet"]["cpu"] < 2.0
    assert set(found["versions"]) == {"python", "torch", "senet"}
    assert found["commit"]
    assert found["date"].endswith("+00:00")
    assert "CPU ratio" in done.stdout


@pytest.mark.slow
def test_an_unknown_benchmark_is_wrong_usage():
    done = run("trainig_step")
    assert done.returncode == 2
    assert "no benchmark 'trainig_step'; there are: training_step, blocks_training, blocks_inference" in done.stderr


def test_the_readme_shows_the_committed_results():
    assert subprocess.run([sys.executable, "-m", "benchmarks.table", "--check"], cwd=ROOT, check=False).returncode == 0
    assert "| resnet50, 8 x 3x224x224: forward and backward, by tail |" in (ROOT / "README.md").read_text(encoding="utf-8")
