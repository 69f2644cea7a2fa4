"""scSE inserted into a trained nnU-Net: what the benchmark writes of runs on a few made images."""

import json
from pathlib import Path

import numpy as np
import pytest
from benchmarks import nnunet
from PIL import Image

from pages import DOCS


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


def test_the_page_shows_the_committed_figures() -> None:
    page = (DOCS / "nnunet.md").read_text(encoding="utf-8")
    (path,) = (nnunet.RESULTS / "evidence").glob("nnunet_nuclei.*.json")
    tree = json.loads(path.read_text(encoding="utf-8"))
    for row in tree["seeds"]:
        before, plain, scse = (arm["dice"] for arm in (row["before"], *row["arms"].values()))
        assert f"| seed {row['seed']} | {before:.2f} | {plain:.2f} | {scse:.2f} | {scse - plain:+.2f} |" in page
        assert row["largest change by insertion"] == 0
    found = tree["differences"]["dice"]
    means = [sum(row["arms"][arm]["dice"] for row in tree["seeds"]) / len(tree["seeds"]) for arm in nnunet.ARMS]
    assert f"| {means[0]:.2f} | {means[1]:.2f} | {found['mean']:+.2f} ({found['low']:+.2f} to {found['high']:+.2f}) |" in page
    assert {difference["finding"] for difference in tree["differences"].values()} == {"unclear"}
    assert f"--seeds {len(tree['seeds'])} --epochs {tree['epochs']} --further {tree['further']} --threads {tree['threads']}`" in page
