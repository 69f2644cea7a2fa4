"""Where a training step spends its time: rows, and the table made of them."""

import json
from pathlib import Path

import pytest
from benchmarks import breakdown, table

RESULT = {
    "about": "a step",
    "device": "a processor",
    "threads": 1,
    "versions": {"torch": "2.0"},
    "date": "2026-01-02T03:04:05+00:00",
    "steps": 3,
    "milliseconds": {"eager": {"convolutions": 10.0, "the rest": 2.4}, "fused": {"convolutions": 9.6, "the rest": 0.0}},
}


@pytest.mark.parametrize(
    ("operator", "row"),
    [
        ("aten::mkldnn_convolution", "convolutions"),
        ("aten::_slow_conv2d_backward", "convolutions"),
        ("ConvolutionBackward0", "convolutions"),
        ("aten::native_batch_norm_backward", "batch normalisation"),
        ("senet_cpp::spread", "fused tails"),
        ("aten::threshold_backward", "products, sums and ReLUs of maps"),
        ("aten::sum", "means and sums over positions"),
        ("aten::max_pool2d_with_indices", "pooling"),
        ("aten::empty", "the rest"),
    ],
)
def test_every_operator_has_a_row(operator: str, row: str) -> None:
    assert breakdown.group_of(operator) == row


def test_table_adds_the_rows_up() -> None:
    lines = table.TABLES["breakdown"]([RESULT]).splitlines()
    assert lines[0] == "| a step | eager | fused |"
    assert lines[2:5] == ["| convolutions | 10 | 10 |", "| the rest | 2 | 0 |", "| all | 12 | 10 |"]
    assert "1 thread, torch 2.0, 2026-01-02; mean of 3 steps" in lines[-1]


@pytest.mark.slow
def test_a_step_is_taken_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breakdown, "NETWORK", "cifar_resnet20")
    monkeypatch.setattr(breakdown, "SIZE", (16, 3, 32, 32))
    assert breakdown.main(["--steps", "1", "--out", str(tmp_path)]) == 0
    (path,) = tmp_path.iterdir()
    found = json.loads(path.read_text())["milliseconds"]
    assert list(found) == list(breakdown.FORMS)
    assert found["SE fused"]["fused tails"] > 0 == found["SE eager"]["fused tails"]
    assert found["SE fused"]["products, sums and ReLUs of maps"] < found["SE eager"]["products, sums and ReLUs of maps"]
