"""The measurement of a GPU: its code runs without one, its promises are judged rightly, and its parts cannot harm each other."""

import gc
import json
import os
import signal
import subprocess
import sys
import sysconfig
import weakref
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from benchmarks.gpu import evidence, functions, predict, processes, report, warps
from benchmarks.gpu.__main__ import main
from benchmarks.gpu.checks import passed_before, summary
from benchmarks.gpu.epoch import noise_of_cifar10
from benchmarks.gpu.parts import BETWEEN, MINUTES, PARTS, fitting
from benchmarks.gpu.targets import TARGETS, verdicts
from benchmarks.launches import device_or_stand_in, steps
from benchmarks.table import promises_table

from process_ends import assert_all_end, until
from senet.cli.arguments import command_parser
from senet.cli.compare import add_arguments
from senet.data.cifar import open_source
from senet.measuring.steps import InferenceStep
from senet.ops.passes.triton import launch
from senet.ops.tail.worthwhile import AROUND
from senet.recipe import load_recipe

ROOT = Path(__file__).parents[1]


def timings(**seconds: float) -> dict[str, Any]:
    return {"timings": {row.replace("_", " "): {"median": value} for row, value in seconds.items()}}


MEASURES: Mapping[str, Any] = {
    "resnet50": timings(plain_eager=0.1, se_fused=0.09, plain_eager_graph=0.1, se_fused_graph=0.09, plain_fused_graph=0.09)
    | {"memory": {"se fused": {"peak": 201}, "plain fused": {"peak": 200}}},
    "resnet50 compiled": {"timings": {"plain compiled": {"median": 0.05}, "se compiled-fused": {"median": 0.06}}},
    "C256 @ 56": timings(se_triton_graph=0.0276) | {"calls": {"se triton graph": 20}, "floor": 0.00138},
    "host": {"microseconds": {"identity, SE, training triton": 400.0}},
    "preresnet20 plain": {"counted": [0.5, 0.6, 9.0]},
    "preresnet20 se": {"counted": [0.6]},
}


@pytest.mark.parametrize(
    ("commit", "file"), [("a" * 40, "aaaaaaa"), ("b" * 40, "bbbbbbb"), (f"{'a' * 40}, modified", "aaaaaaa-modified"), (None, "unknown")]
)
def test_a_commit_adds_to_what_it_measured_and_takes_nothing_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commit: str | None, file: str
) -> None:
    args = Namespace(device="cpu", quick=False, out=tmp_path)
    facts = {"device": "H100 80GB", "versions": {}, "commit": "a" * 40, "date": "2026-11-27"}
    monkeypatch.setattr(report, "bench_environment", lambda *given: facts)
    first = report.write(args, {"host": 1, "tests": 1}, {"a": {}, "c": {}})
    facts |= {"commit": commit, "date": "2026-11-28"}
    path = report.write(args, {"host": 2}, {"c": {}})
    found, same = json.loads(path.read_text()), path == first
    assert path.name == f"gpu.h100-80gb.{file}.json"
    assert found["measures"] == {"host": 2} | ({"tests": 1} if same else {})
    assert set(found["parts"]) == ({"a", "c"} if same else {"c"})
    assert json.loads(first.read_text())["measures"]["tests"] == 1


def test_what_is_not_as_committed_is_never_added_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = {"device": "H100", "versions": {}, "commit": f"{'a' * 40}, modified", "date": "2026-11-27"}
    monkeypatch.setattr(report, "bench_environment", lambda *given: facts)
    args = Namespace(device="cpu", quick=False, out=tmp_path)
    report.write(args, {"tests": 1}, {})
    assert json.loads(report.write(args, {"host": 2}, {}).read_text())["measures"] == {"host": 2}


def test_the_table_of_promises_has_a_column_for_each_commit_in_their_order() -> None:
    def result(commit: str, date: str, value: float | None) -> dict[str, Any]:
        target = {"about": "a tail", "unit": "ms", "before": 2.0, "limit": 1.5, "value": value}
        facts = {"device": "H100", "commit": commit * 40, "date": date, "versions": {"torch": "2.11.0"}}
        return {"benchmark": "gpu", "targets": [target], **facts}

    predicted = {"benchmark": "gpu, predicted", "date": "2026-11-25", "versions": {"torch": "2.15.0"}}
    predicted["targets"] = [{"about": "a tail", "unit": "ms", "before": 2.0, "limit": 1.5, "predicted": 1.4}]
    found = promises_table([result("a", "2026-11-28", None), result("b", "2026-11-27", 1.6), predicted]).splitlines()
    assert found[0] == "|  | a16d6e0 | target | H100, bbbbbbb | H100, aaaaaaa | predicted |"
    assert found[2] == "| a tail, ms | 2 | 1.5 | 1.6 |  | 1.4 |"
    assert "predicted: `python -m benchmarks.gpu --predict`, torch 2.15.0, 2026-11-25" in found[-1]
    assert promises_table([]) == ""


def test_promises_are_kept_missed_or_not_measured() -> None:
    found = {verdict["about"]: verdict for verdict in verdicts(MEASURES)}
    assert len(found) == len(TARGETS)
    said = {about: (verdict["value"], verdict["kept"]) for about, verdict in found.items() if verdict["value"] is not None}
    assert said == {
        "training R50 b256, SE by default / plain definition, launched one by one": (pytest.approx(0.9), True),
        "training R50 b256, SE fused / plain definition, in a graph": (pytest.approx(0.9), False),
        "training R50 b256, SE fused / plain fused, in a graph": (1.0, True),
        "training R50 b256, SE compiled / plain compiled": (pytest.approx(1.2), False),
        "one SE tail, C256 @ 56 / floor, in a graph": (pytest.approx(1.0), True),
        "host time of one SE tail, forward and backward": (0.4, False),
        "peak training memory, SE / plain, fused": (1.005, True),
        "preresnet20 b128, CIFAR-10 epoch with validation, plain": (0.6, True),
        "preresnet20 b128, epoch, SE / plain": (1.0, True),
    }
    assert all(verdict["kept"] is None for verdict in verdicts({}))


def test_parts_fit_into_the_time_in_their_order_and_have_a_home() -> None:
    longest = sum(part.seconds for part in PARTS.values())
    assert fitting(list(PARTS), longest) == list(PARTS)
    assert fitting(["c", "f", "a"], PARTS["c"].seconds + PARTS["a"].seconds) == ["c", "f"]  # what is left after these is too short for a
    assert fitting(["h", "w", "c"], PARTS["h"].seconds + PARTS["c"].seconds) == ["h", "c"]
    assert fitting(list(PARTS), 10.0) == []
    assert {"c", "f", "b", "w", "d"} <= set(fitting(list(PARTS), 60 * MINUTES - BETWEEN))  # with which all but one promise are measured
    for part in PARTS.values():
        assert callable(part.measures())


def test_a_table_of_which_time_ends_has_the_rows_before(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[list[str]] = []

    def compared(place: object, work: object, rows: list[str]) -> dict[str, Any]:
        measured.append(rows)
        figures = {row: {"median": float(len(measured))} for row in rows}
        return {"base": rows[0], "timings": figures, "failed": {"x": "no"} if len(measured) == 2 else {}}

    monkeypatch.setattr(functions, "compared", compared)
    place: Any = None
    found = list(functions.tables(place, "t", place, [["a", "b"], ["c"]]))
    assert measured == [["a", "b"], ["a", "c"]]
    assert found[0] == ("t", {"base": "a", "timings": {"a": {"median": 1.0}, "b": {"median": 1.0}}, "failed": {}})
    assert found[1][1]["timings"] == {"a": {"median": 1.0}, "b": {"median": 1.0}, "c": {"median": 2.0}}
    assert found[1][1]["failed"] == {"x": "no"}


def test_figures_stay_where_a_later_group_fails_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([{"base": "a", "timings": {"a": {"median": 1.0}}, "failed": {}}, {"failed": {"c": "out of memory"}}])
    monkeypatch.setattr(functions, "compared", lambda place, work, rows: next(answers))
    place: Any = None
    *_, (_, table) = functions.tables(place, "t", place, [["a"], ["c"]])
    assert table == {"base": "a", "timings": {"a": {"median": 1.0}}, "failed": {"c": "out of memory"}}


def test_a_row_that_fails_beside_the_others_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def function(work: object, row: str) -> Any:
        def run() -> None:
            calls.append(row)
            if row == "b" and calls.count("b") > 1:
                raise RuntimeError("an illegal memory access")

        run()
        return run

    monkeypatch.setattr(functions, "row_function", function)
    work: Any = None
    candidates, failed = functions.rows_of(work, ["a", "b", "c"])
    assert list(candidates.functions) == ["a", "c"]
    assert failed == {"b": "RuntimeError: an illegal memory access"}


def test_a_part_waits_with_all_imported_until_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes.sys, "executable", str(executable(tmp_path, "import sys\nprint(repr(sys.stdin.readline()))\n")))
    waiting, other = (processes.start([], os.environ) for _ in range(2))
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.process.wait(0.3)
    other.end()
    assert other.process.returncode == -signal.SIGKILL
    assert waiting.finish(60.0)["exit_code"] == 0


def executable(folder: Path, body: str) -> Path:
    found = folder / "python"
    found.write_text(f"#!{sys.executable}\n{body}")
    found.chmod(0o700)
    return found


def test_a_part_that_hangs_is_ended_with_what_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = "import subprocess, time\nchild = subprocess.Popen(['sleep', '100'])\nprint(child.pid, flush=True)\ntime.sleep(100)\n"
    monkeypatch.setattr(processes.sys, "executable", str(executable(tmp_path, body)))
    started = processes.start([], os.environ)
    until(lambda: os.pread(started.output.fileno(), 100, 0).endswith(b"\n"))
    end = started.finish(1.0)
    assert end["exit_code"] is None
    assert end["seconds"] < 30
    assert_all_end([int(end["said"])])


class Device:
    """Stand-in for CUDA's graphs, streams and their contexts."""

    def __init__(self, *_: Any, **__: Any) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...
    def wait_stream(self, _: object) -> None: ...


def test_a_graph_holds_what_it_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("Stream", "current_stream", "stream", "CUDAGraph", "graph", "graph_pool_handle", "empty_cache"):
        monkeypatch.setattr(torch.cuda, name, Device)
    functions._of_captures.cache_clear()
    images: Any = SimpleNamespace(device=torch.device("cuda"))
    network = torch.nn.Identity()
    held = weakref.ref(network)
    replay = functions.captured(InferenceStep(network, (images,), "reference"))
    functions._of_captures.cache_clear()
    del network
    gc.collect()
    assert held() is not None
    del replay
    gc.collect()
    assert held() is None


def test_kernels_over_vectors_get_the_warps_and_others_keep_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, set[int]] = {}

    def start(kernel: Any, programs: int, arguments: object, sizes: Mapping[str, Any]) -> None:
        seen.setdefault(kernel.__name__, set()).add(sizes["num_warps"])

    monkeypatch.setattr(launch, "start", start)
    with device_or_stand_in() as device:
        step = steps(device)["projected, SE, training"]["triton"]
        step()
        own = dict(seen)
        seen.clear()
        with warps.programs_of(2):
            step()
    assert set(warps.KERNELS) <= seen.keys()
    assert all(own[name] == {warps.CHOICES[0]} for name in warps.KERNELS)
    assert seen == {name: {2} if name in warps.KERNELS else found for name, found in own.items()}
    assert launch.start is start


TESTS = """
import time

import pytest

def test_known(): pass
def test_wrong(): assert 1e-5 < 3e-6, "too far"
def test_skipped(): pytest.skip("no device")
def test_new(): pass

@pytest.fixture
def left(request):
    yield
    raise ValueError("not taken down")

def test_left(left): pass
def test_last(): {last}
"""


@pytest.mark.parametrize("spread", [["-p", "no:xdist"], ["-n", "1"]], ids=["alone", "xdist"])
def test_outcomes_are_written_when_they_are_known_and_what_passed_before_comes_last(tmp_path: Path, spread: list[str]) -> None:
    (tmp_path / "test_it.py").write_text(TESTS.format(last="__import__('os')._exit(3)" if "no:xdist" in spread else "pass"))
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "passed.json").write_text(json.dumps(["test_it.py::test_last", "test_it.py::test_known"]))
    words = ["-p", "benchmarks.gpu.outcomes", f"--outcomes={tmp_path / 'outcomes'}", f"--passed={tmp_path / 'passed.json'}", *spread]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-m", "pytest", *words], cwd=tmp_path, env=environment, capture_output=True, check=False)
    lines = (tmp_path / "outcomes").read_text()
    names = list(dict.fromkeys(json.loads(line)["test"].partition("::test_")[2] for line in lines.splitlines()))
    assert names == ["wrong", "skipped", "new", "left", "known", *([] if "no:xdist" in spread else ["last"])]
    found = summary(lines)
    assert (found["tests"], found["failures"], found["skipped"]) == (len(names), 2, 1)
    assert found["failed"]["test_it.py::test_wrong"].startswith("AssertionError: too far")
    assert found["failed"]["test_it.py::test_left"] == "ValueError: not taken down"
    assert {"test_it.py::test_new", "test_it.py::test_known"} <= set(found["passed"])


def test_tests_that_any_result_tells_as_passed_have_passed_before(tmp_path: Path) -> None:
    for name, measures in (("a", {"tests": {"passed": ["y", "x"]}}), ("b", {"tests": {"passed": ["x"]}}), ("c", {"tests": {"failed": {}}})):
        (tmp_path / f"gpu.{name}.json").write_text(json.dumps({"measures": measures}))
    (tmp_path / "gpu.predicted.json").write_text(json.dumps({"targets": []}))
    assert passed_before(tmp_path) == ["x", "y"]


def test_noise_of_cifar10_is_read_as_its_images(tmp_path: Path) -> None:
    root = noise_of_cifar10(tmp_path, 4)
    source = open_source(load_recipe("cifar10_preresnet110", {"data.root": str(root)}).data)
    assert (len(source.train), len(source.val), len(source.classes)) == (20, 4, 10)


def test_every_promise_has_a_prediction_that_follows_from_launches() -> None:
    with device_or_stand_in() as device:
        forms = list(steps(device))
    few, many = (
        predict.predictions(predict.Counts(dict.fromkeys(forms, 0) | dict.fromkeys(forms, count), 500.0, 200.0)) for count in (6, 60)
    )
    assert few.keys() == {target.about for target in TARGETS}
    epoch = "preresnet20 b128, CIFAR-10 epoch with validation, plain"
    assert few[epoch][0] < many[epoch][0]
    assert few["host time of one SE tail, forward and backward"][0] == 0.5 * predict.ALONE
    by_default = "training R50 b256, SE by default / plain definition, launched one by one"
    assert few[by_default][0] > AROUND / predict.EAGER[1]  # what the host takes counts, however few kernels there are


def test_predictions_of_epochs_are_what_was_measured_where_their_assumptions_come_from() -> None:
    with device_or_stand_in() as device:
        launches = dict.fromkeys(steps(device), 6) | {"pair, SE, training": 9}
    found = predict.predictions(predict.Counts(launches, 500.0, 200.0))
    (file,) = (ROOT / "benchmarks" / "results").glob("gpu.*.a2eda3d.json")
    for target in json.loads(file.read_text(encoding="utf-8"))["targets"]:
        if "epoch" in target["about"]:
            assert found[target["about"]][0] == pytest.approx(target["value"], rel=0.06)


def test_the_committed_predictions_are_of_todays_promises() -> None:
    tree = json.loads((ROOT / "benchmarks" / "results" / "gpu.predicted.json").read_text(encoding="utf-8"))
    assert [(row["about"], row["limit"]) for row in tree["targets"]] == [(target.about, target.limit) for target in TARGETS]


def test_the_evidence_is_a_command_that_parses(tmp_path: Path) -> None:
    command, *words = evidence.words(tmp_path, 4, tmp_path)
    parser = command_parser(f"senet {command}", "compare")
    add_arguments(parser)
    args = parser.words(words)
    assert (args.jobs, args.seeds) == (4, 10)
    assert load_recipe(args.recipe, args.changes).training.epochs == 164


def test_an_unknown_part_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--parts", "z"]) == 2
    assert "no part 'z'; there are: c (residual tails)" in capsys.readouterr().err


@pytest.mark.slow
def test_all_of_it_runs_without_a_gpu(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--quick", "--parts", "w,a,b,c,d,f,e,k,v,r", "--out", str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = tmp_path.iterdir()
    tree = json.loads(path.read_text())
    assert {letter: end["exit_code"] for letter, end in tree["parts"].items()} == dict.fromkeys("wabcdfekvr", 0)
    assert [found["failed"] for found in tree["measures"].values() if found.get("failed")] == []
    kept = {verdict["about"] for verdict in tree["targets"] if verdict["kept"] is not None}
    assert "training R50 b256, SE fused / plain definition, in a graph" in kept
    assert tree["measures"]["profile after"]["kernels"]
    assert tree["measures"]["profile preresnet20 se"]["kernels"]
    assert tree["measures"]["C16 @ 4"]["floor"] > 0
    assert len(tree["measures"]["preresnet20 se"]["counted"]) == 1


def test_what_a_process_said_names_no_folder_of_the_machine() -> None:
    root, packages = processes.ROOT, sysconfig.get_path("purelib")
    said = f'File "{root}/benchmarks/gpu/tails.py", line 1\nFile "{packages}/torch/nn/modules/module.py", line 2'
    assert processes.without_places(said) == 'File "benchmarks/gpu/tails.py", line 1\nFile "torch/nn/modules/module.py", line 2'
