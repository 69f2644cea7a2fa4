"""Predictions name the classes that the network finds likeliest, whatever the image file."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from senet.errors import UsageError
from senet.models.create import create_model
from senet.spec import InputSpec
from senet.tasks.classification import ClassProbability, TopClasses
from senet.training.predict import ImagePrediction, predict
from senet.weights.store import save_weights

CLASSES = ("cat", "dog", "eel", "fox", "gnu", "hen")


def saved(path: Path, channels: int = 3, seed: int = 0, **metadata) -> Path:
    torch.manual_seed(seed)
    model = create_model("se_cifar_resnet20", num_classes=6, in_channels=channels)
    spec = InputSpec(size=16, resize=20, channels=channels, mean=(0.5,) * channels, std=(0.25,) * channels)
    save_weights(model, path, **({"classes": CLASSES, "input": spec} | metadata))
    return path


def guesses(found: ImagePrediction) -> tuple[ClassProbability, ...]:
    assert isinstance(found.prediction, TopClasses)
    return found.prediction.guesses


@pytest.fixture
def photograph(shared_data: Path) -> Path:
    return sorted((shared_data / "imagenet1k_sample" / "images").iterdir())[0]


def test_the_likeliest_classes_come_first_with_their_probabilities(tmp_path: Path, photograph: Path) -> None:
    (found,) = predict(saved(tmp_path / "w.safetensors"), [photograph], top_k=10)
    probabilities = [guess.probability for guess in guesses(found)]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1)
    assert {guess.name for guess in guesses(found)} == set(CLASSES)
    (short,) = predict(tmp_path / "w.safetensors", [photograph], top_k=2)
    assert guesses(short) == guesses(found)[:2]
    assert short.to_dict()["guesses"][0] == {"name": guesses(found)[0].name, "probability": probabilities[0]}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1"])
def test_colour_and_grey_files_go_into_colour_and_grey_networks(tmp_path: Path, channels: int, mode: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8)
    Image.fromarray(pixels).convert(mode).save(tmp_path / "image.png")
    (found,) = predict(saved(tmp_path / "w.safetensors", channels), [tmp_path / "image.png"])
    assert len(guesses(found)) == 5
    if mode == "RGB":  # the same grey picture, in another file
        Image.fromarray(pixels).save(tmp_path / "grey.png")
        (grey,) = predict(tmp_path / "w.safetensors", [tmp_path / "grey.png"])
        assert guesses(grey) == guesses(found)


def test_an_unreadable_image_does_not_stop_the_others(tmp_path: Path, photograph: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(photograph.read_bytes()[:500])
    images = [tmp_path / "broken.jpg", photograph, tmp_path / "missing.jpg"]
    broken, good, missing = predict(saved(tmp_path / "w.safetensors"), images)
    assert good.error is None
    assert len(guesses(good)) == 5
    for found in (broken, missing):
        assert found.prediction is None
        assert found.image in found.error
        assert "\n" not in found.error


def test_several_networks_are_averaged(tmp_path: Path, photograph: Path) -> None:
    paths = [saved(tmp_path / f"{seed}.safetensors", seed=seed) for seed in (0, 1)]
    one, other, both = ({g.name: g.probability for g in guesses(next(predict(p, [photograph], top_k=6)))} for p in (*paths, paths))
    assert both == pytest.approx({name: (one[name] + other[name]) / 2 for name in CLASSES})


def test_classes_without_names_are_numbered(tmp_path: Path, photograph: Path) -> None:
    (found,) = predict(saved(tmp_path / "w.safetensors", classes=None), [photograph])
    assert {guess.name for guess in guesses(found)} <= set("012345")


def test_what_cannot_work_is_one_line(tmp_path: Path, photograph: Path) -> None:
    with pytest.raises(UsageError, match="top_k must be at least 1"):
        predict(saved(tmp_path / "w.safetensors"), [photograph], top_k=0)
    with pytest.raises(UsageError, match="does not say what images it expects"):
        predict(saved(tmp_path / "w.safetensors", input=None), [photograph])
