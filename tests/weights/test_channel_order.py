"""Predictions and evaluation show a network its images in the order of channels that its file names."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from senet import create_model, save_weights
from senet.data.source import open_data
from senet.recipe import DataRecipe
from senet.spec import InputSpec
from senet.training.evaluate import evaluate
from senet.training.predict import predict

CLASSES = ("cat", "dog", "eel")
RGB = InputSpec(size=16, resize=20, channels=3, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
BGR = InputSpec(size=16, resize=20, channels=3, mean=RGB.mean[::-1], std=RGB.std[::-1], order="bgr")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Return a root of class folders with images of many colours."""
    random = np.random.default_rng(0)
    for index in range(12):
        folder = tmp_path / "images" / ("train", "val")[index % 2] / CLASSES[index % 3]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (5, 6, 3), np.uint8) * np.uint8(random.random(3) < [0.3, 0.9, 0.6])
        Image.fromarray(pixels).resize((30, 24)).save(folder / f"{index}.png")
    return tmp_path / "images"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Return one network for RGB, the same for BGR, and one whose file names the wrong order."""
    torch.manual_seed(0)
    model = create_model("cifar_resnet20", num_classes=3)
    model.bn1.running_mean.normal_()  # or else it hardly looks at colours
    files = {name: tmp_path / f"{name}.safetensors" for name in ("rgb", "bgr", "wrong")}
    save_weights(model, files["rgb"], classes=CLASSES, input=RGB)
    model.conv1.weight.data = model.conv1.weight.data.flip(1)
    save_weights(model, files["bgr"], classes=CLASSES, input=BGR)
    save_weights(model, files["wrong"], classes=CLASSES, input=RGB)
    return files


def test_predictions(images: Path, files: dict[str, Path]) -> None:
    photographs = sorted(images.rglob("*.png"))
    found = {name: [guess for image in predict(path, photographs) for guess in image.prediction.guesses] for name, path in files.items()}
    probabilities = {name: [guess.probability for guess in guesses] for name, guesses in found.items()}
    assert [guess.name for guess in found["bgr"]] == [guess.name for guess in found["rgb"]]
    assert probabilities["bgr"] == pytest.approx(probabilities["rgb"], rel=1e-5)
    assert probabilities["wrong"] != pytest.approx(probabilities["rgb"], rel=1e-2)


def test_evaluation(images: Path, files: dict[str, Path]) -> None:
    data = open_data(DataRecipe(name="folder", root=str(images), workers=0))
    losses = {name: evaluate(path, data, workers=0).metrics["loss"] for name, path in files.items()}
    assert losses["bgr"] == pytest.approx(losses["rgb"], rel=1e-5)
    assert losses["wrong"] != pytest.approx(losses["rgb"], rel=1e-2)
