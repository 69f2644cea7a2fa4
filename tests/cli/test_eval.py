"""`senet eval`: what a file of weights may choose of the images that it is tried on."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

import senet
from senet.cli.main import main
from senet.spec import InputSpec
from senet.tasks.detection import coco_results

DIGITS = [str(number) for number in range(10)]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return tmp_path / "w.safetensors"


def write(path: Path, *, channels: int = 1, in_channels: int = 1, **data: object) -> None:
    torch.manual_seed(0)
    model = senet.create_model("preresnet20", num_classes=10, in_channels=in_channels)
    images = InputSpec(8, 8, channels, (0.3,) * channels, (0.4,) * channels)
    senet.save_weights(model, path, classes=DIGITS, input=images, recipe={"name": "mine", "data": {"name": "digits"} | data})


def test_weights_say_which_images_they_were_tried_on(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(weights, workers=10**6, batch_size=10**9, download=True, max_pixels=10**12)
    assert main(["eval", str(weights), "--quiet", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] > 0


def test_weights_outside_a_run_choose_no_folder(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(weights, name="folder", root="/\x1b[31m")
    assert main(["eval", str(weights), "--quiet"]) == 2
    line = capsys.readouterr().err.strip()
    assert "says that its images lie in /\\x1b[31m, and weights that lie in no run's folder do not choose what is opened" in line
    assert line.isprintable()
    assert main(["eval", str(weights), "--quiet", "--data.root", str(weights.parent / "images")]) == 2
    assert "images' is not a folder" in capsys.readouterr().err


def test_weights_in_their_runs_folder_are_tried_on_its_images(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(weights, name="folder", root=str(weights.parent / "images"))
    (weights.parent / "recipe.yaml").write_text("name: mine\n")
    assert main(["eval", str(weights), "--quiet"]) == 2
    assert "images' is not a folder" in capsys.readouterr().err


@pytest.mark.parametrize("data", [{"name": 3}, {"name": ["x"]}, {"image_size": "x"}, {"mean": ["x"]}, {"eval_resize": -1}])
def test_what_a_recipe_in_a_file_cannot_say(weights: Path, data: dict[str, object], capsys: pytest.CaptureFixture[str]) -> None:
    write(weights, **data)
    assert main(["eval", str(weights), "--quiet"]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_results_of_coco_are_of_boxes_and_the_first_other_answer_is_refused(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(weights)
    for name in "ab":
        Image.new("RGB", (9, 9)).save(weights.parent / f"{name}.png")
    images, target = [str(weights.parent / f"{name}.png") for name in "ab"], weights.parent / "found.json"
    assert main(["predict", *images, "--weights", str(weights), "--coco-results", str(target)]) == 2
    said = capsys.readouterr()
    assert "a.png has a prediction of another task; leave out --coco-results" in said.err
    assert "b.png" not in said.out + said.err
    assert not target.exists()


def test_weights_outside_a_run_choose_no_files_of_coco(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(coco_results, "listed_numbers", lambda root: asked.append(root) or coco_results.CocoNumbers({}, {}))
    write(weights, name="coco_boxes", root="/somewhere")
    Image.new("RGB", (9, 9)).save(weights.parent / "a.png")
    words = ["predict", str(weights.parent / "a.png"), "--weights", str(weights), "--coco-results", str(weights.parent / "found.json")]
    assert main(words) == 2
    (weights.parent / "recipe.yaml").write_text("name: mine\n")
    assert main(words) == 2
    assert asked == [None, "/somewhere"]


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        ((3, 1), "speaks of images of 3 channels, but its network takes 1"),
        ((4, 4), "4 channels, and image files are read with 1 or 3"),
    ],
)
def test_channels_that_do_not_go_together(
    weights: Path, channels: tuple[int, int], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(weights, channels=channels[0], in_channels=channels[1])
    Image.new("RGB", (9, 9)).save(weights.parent / "image.png")
    assert main(["predict", str(weights.parent / "image.png"), "--weights", str(weights)]) == 2
    assert message in capsys.readouterr().err
