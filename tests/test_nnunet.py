"""scSE inserted into a trained nnU-Net: what the benchmark writes of runs on a few made images."""

import json
from pathlib import Path

import numpy as np
import pytest
from benchmarks import nnunet
from PIL import Image


@pytest.fixture
def nuclei(tmp_path: Path) -> Path:
    """Return a folder of bright discs on noise, and maps of which disc each pixel is of."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:64, :64]
    for split, count in (("train", 8), ("test", 2)):
        for folder in ("images", "instances"):
            (tmp_path / "data" / split / folder).mkdir(parents=True)
        for number in range(count):
            centres = [(16, 16), (16, 48), (48, 32)]
            maps = [((rows - row) ** 2 + (columns - column) ** 2 < random.integers(20, 120)) for row, column in centres]
            labels = sum(index * one for index, one in enumerate(maps, 1)).astype(np.uint8)
            image = (60 + 120 * (labels > 0) + random.integers(50, size=labels.shape)).astype(np.uint8)
            Image.fromarray(image).convert("RGB").save(tmp_path / "data" / split / "images" / f"{number}.png")
            Image.fromarray(labels).save(tmp_path / "data" / split / "instances" / f"{number}.png")
    return tmp_path / "data"


def test_both_go_on_from_the_same_weights(nuclei: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    words = "--width 4 --seeds 2 --epochs 1 --further 1 --warmup 0"
    assert nnunet.main(["--root", str(nuclei), *words.split(), "--out", str(tmp_path / "out"), "--runs", str(tmp_path / "runs")]) == 0
    (path,) = (tmp_path / "out").iterdir()
    text = path.read_text(encoding="utf-8")
    assert str(tmp_path) not in text
    found = json.loads(text)
    assert [row["seed"] for row in found["seeds"]] == [0, 1]
    assert [row["largest change by insertion"] for row in found["seeds"]] == [0.0, 0.0]
    for row in found["seeds"]:
        assert row["before"] not in row["arms"].values()
        assert row["arms"]["plain"] != row["arms"]["scse"]
    first, second = (row["arms"]["scse"]["dice"] - row["arms"]["plain"]["dice"] for row in found["seeds"])
    assert found["differences"]["dice"]["by_seed"] == [first, second]
    assert "scSE against plain, Dice" in capsys.readouterr().out


def test_insertion_that_changes_outputs_is_measured(nuclei: Path, tmp_path: Path) -> None:
    args = nnunet.parser().parse_args(["--root", str(nuclei), "--width", "4", "--warmup", "0"])
    plain, drawn = (nnunet.recipe_of(args, 0, epochs=1, lr=0.1, **changes) for changes in ({}, {"model.block": "se"}))
    assert nnunet.largest_change(plain, drawn, images=1) > 0.01
