"""Detectors compiled, optimised, exported, in other layouts and on large images: the same detections."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import senet
from models.detection.test_contract import FORMS, batch, create, equal
from senet.errors import UsageError
from senet.models.detection.exact_boxes import HALF_PRECISION


def decided(form: str) -> Any:
    """Return a detector in evaluation whose scores are no ties, as those of drawn weights nearly are."""
    model = create(form, score_threshold=0.0).eval()
    layers = model.dense.head.classification_head.modules() if form == "retinanet" else [model.get_submodule(model.head)]
    for layer in layers:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.weight.data *= 8
    return model


def detections(model: Any, images: Any) -> Any:
    with torch.no_grad():
        return model(images)


def assert_close(found: Any, wanted: Any) -> None:
    """Assert that detections are equal to rounding: boxes to 1e-3 pixels, scores and masks to 1e-4."""
    for one, other in zip(found, wanted, strict=True):
        assert len(one["boxes"])
        for name, tensor in one.items():
            torch.testing.assert_close(tensor, other[name], rtol=0, atol=1e-3 if name == "boxes" else 1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_the_inference_form_finds_the_same(form: str) -> None:
    model, (images, _) = decided(form), batch()
    optimized: Any = senet.optimize(model)
    fused = {row.path for row in optimized.report.rows if row.fused}
    body = "backbone.body.layer{}.{}.conv1"
    assert {body.format(stage, unit) for stage in range(1, 5) for unit in (0, 1)} <= fused
    assert_close(detections(optimized, images), detections(model, images))


@pytest.mark.parametrize("form", FORMS)
def test_channels_last_finds_the_same(form: str) -> None:
    model, (images, _) = decided(form), batch()
    wanted = detections(model, images)
    assert_close(detections(model.to(memory_format=torch.channels_last), images), wanted)


def test_a_compiled_backbone_finds_the_same() -> None:
    model, (images, _) = decided("faster_rcnn"), batch()
    wanted = detections(model, images)
    model.backbone.compile(backend="aot_eager", fullgraph=True)
    assert_close(detections(model, images), wanted)


class OneImage(nn.Module):
    """What is found in one image, as a tuple of tensors."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        (found,) = self.model([image])
        return tuple(found.values())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", [pytest.param(form, marks=[pytest.mark.slow] * (form != "faster_rcnn")) for form in FORMS])
def test_onnx_runtime_finds_the_same_in_images_of_one_size(form: str, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    model = OneImage(decided(form)).eval()
    images, _ = batch(sides=((64, 96), (64, 96)))
    with torch.no_grad(), senet.backend("reference"):
        torch.onnx.export(model, (images[0],), tmp_path / "detector.onnx", dynamo=False, opset_version=18)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # the shapes of loops are noted of the first image
    session = onnxruntime.InferenceSession(tmp_path / "detector.onnx", options)
    for image in images:
        for got, wanted in zip(session.run(None, {session.get_inputs()[0].name: image.numpy()}), detections(model, image), strict=True):
            assert len(wanted)
            np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-3)


def test_files_of_free_sizes_are_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"se_faster_rcnn finds as many boxes .* dynamo=False"):
        senet.export_onnx(create("faster_rcnn"), tmp_path / "detector.onnx", torch.randn(2, 3, 64, 64))


def test_a_training_step_is_deterministic() -> None:
    images, targets = batch()
    gradients = []
    torch.use_deterministic_algorithms(True)
    try:
        for _ in range(2):
            model = create("mask_rcnn").train()
            torch.manual_seed(3)
            torch.stack(list(model(images, targets).values())).sum().backward()
            gradients.append([parameter.grad for parameter in model.parameters()])
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))


def test_large_images() -> None:
    model = decided("faster_rcnn")
    height, width = 901, 1203
    (found,) = detections(model, torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(2)))
    assert len(found["boxes"]) == 5
    assert ((found["boxes"] >= 0) & (found["boxes"] <= torch.tensor([width, height, width, height]))).all()
    assert found["boxes"].max() > 256


@pytest.mark.parametrize("form", ["faster_rcnn", "mask_rcnn c4", "retinanet"])
@pytest.mark.parametrize("as_weights", [False, True])
def test_boxes_are_exact_where_maps_are_rounded(form: str, as_weights: bool) -> None:
    """Beyond 256 pixels bfloat16 has even numbers only: anchors and boxes are float32, and stay so after it."""
    model, half = decided(form), torch.bfloat16
    images, targets = batch(sides=((310, 290), (280, 333)))
    before = detections(model, images)
    anchors = (model.dense if form == "retinanet" else model.rpn).anchor_generator
    made: list[Any] = []
    handle = anchors.register_forward_hook(lambda module, inputs, output: made.append(output))
    if as_weights:
        model, seen = model.to(half), [image.to(half) for image in images]
        found = detections(model, seen)
    else:
        with torch.autocast("cpu", half):
            found = detections(model, images)
    for one in found:
        assert one["boxes"].dtype == one["scores"].dtype == torch.float32
        assert len(one["boxes"])
        assert (one["boxes"].remainder(0.125) != 0).any()
    after = detections(model.float(), images)
    handle.remove()
    assert all(torch.equal(one, other) for one, other in zip(made[0], made[-1], strict=True))
    assert as_weights or equal(after, before)
    model = model.to(half) if as_weights else model
    with torch.autocast("cpu", half, enabled=not as_weights):
        losses = model.train()([image.to(half) for image in images] if as_weights else images, targets)
    assert all(loss.isfinite() and loss.dtype not in HALF_PRECISION for loss in losses.values())
