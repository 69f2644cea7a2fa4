"""The residual tail alone, timed by backend."""

import json
from pathlib import Path

import pytest
from benchmarks import tails

from senet.benchmarking.result import comparisons_of
from senet.benchmarking.settings import Settings
from senet.errors import UsageError
from senet.spec import BlockSpec

QUICK = ["--rounds", "1", "--max-seconds", "1"]


@pytest.mark.parametrize("mode", ["training", "inference"])
@pytest.mark.parametrize("kind", ["se", "scse", "cmpe_se"])
def test_forms_are_compared_backend_by_backend(mode: str, kind: str) -> None:
    (found,) = tails.measured([(2, 16, 8, 8)], BlockSpec(kind), ["reference"], Settings(mode, rounds=1, max_seconds=1.0)).comparisons
    assert list(found.timings) == ["plain reference", f"{kind} reference"]
    assert found.pairs == {"reference": (f"{kind} reference", "plain reference")}
    assert found.about == f"residual tail, 2 x 16x8x8, fp32: {mode}"
    assert bool(found.memory) == (mode == "training")


def test_several_shapes_are_written_as_senet_bench_reads_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tails.json"
    assert tails.main(["2,8,4,4", "1x16x3x5", "--backends", "reference", "--reduction", "4", "--out", str(path), "--json", *QUICK]) == 0
    tree = json.loads(path.read_text())
    assert json.loads(capsys.readouterr().out) == tree
    assert [found.about for found in comparisons_of(tree)] == [
        f"residual tail, {shape}, fp32: training" for shape in ("2 x 8x4x4", "1 x 16x3x5")
    ]
    assert tree["settings"]["block"]["reduction"] == 4


def test_a_backend_that_cannot_run_is_refused() -> None:
    with pytest.raises(UsageError, match="the backend 'triton' cannot run here: "):
        tails.check_backends(["reference", "triton"], Settings())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["1,2,3"], "a shape must be four numbers"),
        (["1,2,3,4", "--backends", "tritn"], "unknown backend of the tail 'tritn' (did you mean 'triton'?)"),
        (["1,2,3,4", "--device", "gpu"], "unknown device 'gpu'"),
        (["1,2,3,4", "--block", "none"], "invalid choice: 'none'"),
    ],
)
def test_wrong_words_are_wrong_usage(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        tails.main(words)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
