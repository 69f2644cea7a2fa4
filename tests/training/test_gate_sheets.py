"""`senet predict --gates` writes what sSE blocks do on the images that are predicted."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from senet.cli.main import main
from senet.models.create import create_model
from senet.spec import InputSpec
from senet.training.gate_sheets import GateSheets, seen_image
from senet.training.members import Member
from senet.weights.store import save_weights

SPEC = InputSpec(size=16, resize=20, channels=3, mean=(0.5,) * 3, std=(0.25,) * 3)


def saved(path: Path, name: str) -> str:
    torch.manual_seed(0)
    save_weights(create_model(name, num_classes=3), path, input=SPEC, classes=("a", "b", "c"))
    return str(path)


def image(folder: Path) -> str:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 30, 3), np.uint8)).save(folder / "image.png")
    return str(folder / "image.png")


def test_a_sheet_is_written_for_each_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = saved(tmp_path / "w.safetensors", "scse_cifar_resnet20")
    words = ["predict", image(tmp_path), "--weights", weights, "--gates", str(tmp_path / "gates"), "--json"]
    assert main(words) == 0
    assert str(tmp_path / "gates" / "image.png") in capsys.readouterr().out
    with Image.open(tmp_path / "gates" / "image.png") as sheet:
        assert sheet.width > 3 * 256  # the image and nine blocks in rows of four
        assert sheet.height > 3 * 256
    assert main(words) == 2
    assert "exists; move it away, name another folder, or --force" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("se_cifar_resnet20", [], "has no gates of positions to show"),
        ("scse_cifar_resnet20", ["--crops", "ten"], "leave crops at 'centre'"),
        ("scse_cifar_resnet20", ["--out", "gates"], "name two folders"),
        ("scse_cifar_resnet20", ["--weights", "w.safetensors"], "several weights: name one"),
    ],
)
def test_what_cannot_be_shown_is_one_line(
    name: str, more: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    saved(Path("w.safetensors"), name)
    assert main(["predict", image(tmp_path), "--weights", "w.safetensors", "--gates", "gates", *more]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_of_a_volume_the_middle_is_shown() -> None:
    view = torch.zeros(1, 20, 12, 14)
    view[:, 9] = torch.linspace(0, 1, 14)
    assert np.array_equal(np.asarray(seen_image(view[:, 9:10]))[0, [0, -1], 0], [0, 255])
    network = create_model("scse_unet3d", width=4, depth=2, in_channels=1, num_classes=2)
    sheets = GateSheets.of([Member("net", network)], "centre", (4, 8, 40))
    small, whole = sheets.draw(view), GateSheets(sheets.member, None).draw(view)
    assert small.height < whole.height  # 8 x 14 positions of 12 x 14
