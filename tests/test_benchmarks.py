import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks import curves, table
from benchmarks.registry import REGISTRY

from senet.cli.main import main

TARGETS = [
    *(f"tail_training_{name}" for name in ("resnet50", "cifar_resnet20", "cifar_resnet56", "preresnet20", "preresnet56")),
    *(f"inference_b{batch}_{dtype}" for batch in (1, 16) for dtype in ("fp32", "bf16")),
    *("peers_b1_fp32", "peers_b16_fp32", "onnx_openvino_b1_fp32", "onnx_openvino_b16_fp32", "onnx_onnxruntime_b1_fp32"),
]
"""The rows of the table of ratios to reach."""

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
    assert "no benchmark 'trainig_step'; there are: training_step, blocks_training_cifar_resnet20" in done.stderr


def test_what_is_promised_can_be_measured():
    for name in TARGETS:
        assert name in REGISTRY, name
    for name, benchmark in REGISTRY.items():
        assert benchmark.about, name


@pytest.mark.slow
def test_memory_is_measured_with_the_tails(tmp_path):
    done = run("tail_training_cifar_resnet20", "--rounds", "1", "--threads", "1", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.iterdir()
    found = json.loads(path.read_text())
    assert list(found["timings"]) == ["plain eager", "se eager", "plain fused", "se fused"]
    memory = found["memory"]
    assert 1.2 < memory["se eager"]["saved"] / memory["plain eager"]["saved"] < 1.25
    assert (memory["plain eager"]["saved"] - 200.8e6) / 200.8e6 < 1e-3


def test_a_mark_chooses_the_quantity(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "ROOT", tmp_path)
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    result = {
        "about": "a network",
        "base": "plain eager",
        "device": "a CPU",
        "threads": 2,
        "versions": {"torch": "2"},
        "date": "2026-11-22T00:00:00+00:00",
        "timings": {"plain eager": {"rounds": 3}, "se eager": {"rounds": 3}},
        "ratios": {"se eager": {"cpu": 1.126}},
        "memory": {"plain eager": {"saved": 100, "peak": 200}, "se eager": {"saved": 125, "peak": 230}},
    }
    (tmp_path / "benchmarks" / "results" / "tail_x.cpu.json").write_text(json.dumps(result))
    rows = {
        "": ("CPU time over plain eager", "1.13"),
        " time": ("CPU time over plain eager", "1.13"),
        " saved": ("Bytes saved for backward over plain eager", "1.25"),
        " peak": ("Peak memory of a step over plain eager", "1.15"),
    }
    for what, (heading, figure) in rows.items():
        text = table.written(f"before <!-- benchmarks tail_*{what} -->\nold\n<!-- end --> after")
        assert f"| {heading} | se eager |" in text
        assert f"| a network | {figure} |" in text
        assert text.startswith("before <!-- benchmarks tail_*")
        assert text.endswith("<!-- end --> after")
        assert "old" not in text


def test_a_mark_without_results_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "ROOT", tmp_path)
    assert "Not measured yet" in table.written("<!-- benchmarks nothing_* -->\n<!-- end -->")


def test_curves_are_compared_where_they_differ_most():
    one, other = [float(step) for step in range(30)], [float(step) for step in range(30)]
    other[25] += 2 * curves.WINDOW
    found = curves.curve_differences({"reference": [one, one], "cpp": [one, other]})
    assert found["between_backends"] == pytest.approx(2.0)
    assert found["between_seeds"] == pytest.approx(2.0)
    assert curves.curve_differences({"reference": [one, other], "cpp": [one, other]})["between_backends"] == 0.0


@pytest.mark.slow
def test_curves_of_a_few_steps(cifar10_small, tmp_path):
    words = ["--root", str(cifar10_small), "--steps", "2", "--seeds", "2", "--threads", "1", "--out", str(tmp_path)]
    picture = tmp_path / "curves.svg"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.curves", *words, "--plot", str(picture)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    (path,) = tmp_path.glob("*.json")
    found = json.loads(path.read_text())
    assert [len(curve) for members in found["losses"].values() for curve in members] == [2] * 4
    assert found["losses"]["reference"][0] != found["losses"]["reference"][1]
    assert found["differences"]["between_backends"] < 0.01
    assert "between backends on one seed" in done.stdout
    assert picture.exists()


def test_the_readme_shows_the_committed_results():
    assert subprocess.run([sys.executable, "-m", "benchmarks.table", "--check"], cwd=ROOT, check=False).returncode == 0
    assert "| resnet50, 8 x 3x224x224: forward and backward, by tail |" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_pictures_show_the_committed_results(tmp_path):
    command = re.search(r"^senet (bench --from .*) --force$", (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8"), re.MULTILINE)
    before, names, after = re.split(r"[{}]", command[1].partition("--from ")[2].partition(" --plot")[0])
    results = [str(path) for name in names.split(",") for path in sorted(ROOT.glob(f"{before}{name}{after}"))]
    assert main(["bench", "--from", *results, "--plot", str(tmp_path / "overheads.svg")]) == 0
    (losses,) = (ROOT / "benchmarks" / "results").glob("loss_curves.*.json")
    assert curves.main(["--from", str(losses), "--plot", str(tmp_path / "loss_curves.svg")]) == 0
    for picture in ("overheads.svg", "loss_curves.svg"):
        assert (tmp_path / picture).read_bytes() == (ROOT / "docs" / picture).read_bytes(), f"docs/{picture} shows other results"


def test_loss_curves_have_a_key():
    drawing = curves.loss_chart({"reference": [[2.0, 1.5], [2.1, 1.4]], "cpp": [[2.0, 1.6], [2.2, 1.5]]}, "losses", first=20)
    found = re.findall(r"<text[^>]*>([^<]*)</text>", str(drawing))
    assert {"reference, 2 seeds", "cpp, 2 seeds", "losses", "step", "20", "21"} <= set(found)
    assert str(drawing).count('class="curve s0"') == str(drawing).count('class="curve s1"') == 3
    assert "cpp ends at 1.6, 1.5" in drawing.alternative
