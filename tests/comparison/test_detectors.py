"""The arms of fine-tuning a trained detector: plain, SE from identity, and SE with the detector itself frozen."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from senet.comparison import measure
from senet.comparison.run import compare
from senet.training.loop import train
from tasks.detection.made_rectangles import SMALL_DETECTOR, tiny_boxes

SHORT = {"data__min_steps": 1, "training__epochs": 1, "model__name": "faster_rcnn", "model__options": SMALL_DETECTOR}


def test_three_arms_begin_where_the_plain_detector_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(measure, "ROUNDS", 3)
    trained = train(tiny_boxes(**SHORT), folder=tmp_path / "trained", progress=False)
    recipe = tiny_boxes(**SHORT, model__weights=str(tmp_path / "trained"), model__init="identity", optim__lr=0.001)
    arms = {"block+groups.host": [[None, 1], ["se", 1], ["se", 0]]}
    result = compare(recipe, vary=arms, seeds=1, out=tmp_path / "runs", report=False, progress=False)
    assert [variant.label for variant in result.variants] == ["plain, host rate x 1", "SE, host rate x 1", "SE, host frozen"]
    begun = load_file(tmp_path / "trained/best.safetensors")
    plain, _, frozen = (load_file(Path(variant.runs[0].folder) / "best.safetensors") for variant in result.variants)
    held = {name.replace("host.", ""): tensor for name, tensor in frozen.items()}
    heads = ("roi_heads.box_predictor",)
    assert all(torch.equal(held[name], tensor) for name, tensor in begun.items() if not name.startswith(heads))
    assert any(not torch.equal(plain[name], tensor) for name, tensor in begun.items() if name.startswith("backbone"))
    assert result.variants[0].cost.params < result.variants[1].cost.params
    assert trained.weights is None
