"""What 8 bits cost and save: a row for each form, times where they are to be taken, and a table of what was found."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks import quantization
from benchmarks.table import TABLES
from torch import nn

from senet.blocks.channel import ChannelSE
from senet.measuring.scores import Scores


def rows_of_a_small_network(folder: Path) -> list[dict[str, Any]]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), ChannelSE(8, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)).eval()
    images = torch.randn(12, 3, 10, 10)
    with torch.no_grad():
        classes = model(images).argmax(1)

    def measure(network: nn.Module) -> Scores:
        hits = 100.0 * (network(images).argmax(1) == classes).double()
        return Scores(float(hits.mean()), hits)

    quantization.FORMS = ({"gates": "int8", "calibration": "minmax"}, {"gates": "float"})
    return list(quantization.rows(quantization.Subject("a network", model, [images], measure, fixed_size=True), folder, rounds=3))


def test_rows_are_of_the_forms_and_measured_on_the_files(tmp_path: Path) -> None:
    # several engines with threads of their own, in a process that has many libraries, end it when it starts another one
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        float_row, untimed, timed = pool.submit(rows_of_a_small_network, tmp_path).result()
    assert float_row["metric"] == 100
    assert untimed["metric"] == pytest.approx(100 * untimed["agreement"])
    assert "times" not in untimed
    assert timed["times"].keys() == quantization.ENGINES.keys()
    assert min(ratio["cpu"] for ratio in timed["times"].values()) > 0
    result = {
        "networks": {"a network": [float_row, untimed, timed]},
        "device": "a processor",
        "threads": 1,
        "versions": {"torch": "2.15.0"},
        "date": "2026-11-27T02:44:39+00:00",
    }
    head, _, first, second, third, *_, said, _ = TABLES["quantization"]([result]).split("\n")
    assert head == "| a network | top-1 % | points lost | agrees % | MiB | ONNX Runtime | OpenVINO |"
    assert first.startswith("| float32 | 100.00 |  |  | ")
    assert second.startswith(f"| gates int8, calibration minmax | {untimed['metric']:.2f} | {untimed['loss']['points']:.2f} (")
    assert third.endswith(" | ".join(f"{timed['times'][name]['cpu']:.2f}" for name in ("onnxruntime", "openvino")) + " |")
    assert "a processor, 1 thread, torch 2.15.0, 2026-11-27" in said
    assert len({line.count("|") for line in (head, first, second, third)}) == 1
