"""The tutorial runs as written: on the cells that it makes, and on photographs of nuclei in their place."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pages import DOCS, examples, shell_lines
from senet.cli.main import main
from senet.results.run_folder import RunFolder

PAGE = DOCS / "tutorial_segmentation.md"
COMPARISON = "senet compare "


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    return tmp_path


def make_cells() -> None:
    exec(compile(examples(PAGE, "python")[0][1], PAGE.name, "exec"), {})


def copy_nuclei(data: Path, count: int = 20) -> None:
    """Lay photographs and masks of nuclei out as the tutorial's cells are."""
    for folder in ("images", "masks"):
        Path("cells", folder).mkdir(parents=True)
    for number, path in enumerate(sorted((data / "nuclei_dsb2018/train/images").iterdir())[:count]):
        with Image.open(path) as image, Image.open(path.parents[1] / "instances" / f"{path.stem}.png") as objects:
            image.resize((80, 64)).save(f"cells/images/{number:02}.png")
            mask = np.asarray(objects.resize((80, 64), Image.Resampling.NEAREST)) > 0
        Image.fromarray(mask.astype(np.uint8)).save(f"cells/masks/{number:02}.png")


def follow() -> None:
    """Run the commands of the page but the comparison, which another test runs."""
    for line in shell_lines(PAGE):
        if not line.startswith(COMPARISON):
            assert main(line.removeprefix("senet ").replace("'", "").split()) == 0, line


def test_commands_run_on_the_cells_and_say_what_the_page_shows(place: Path, capsys: pytest.CaptureFixture) -> None:
    make_cells()
    follow()
    said = " ".join(capsys.readouterr().out.split())
    for line in (line for _, block in examples(PAGE, "") for line in block.splitlines() if "cells: " in line):
        assert " ".join(line.split()) in said, line
    assert "any batch, height, width" in said
    assert RunFolder.at("runs/first").metrics()[-1]["val_dice"] > 90
    assert {path.name for path in Path("predicted").iterdir()} == {f"{number:02}.png" for number in range(20)}
    truth, found = (np.asarray(Image.open(f"{folder}/00.png")) for folder in ("cells/masks", "predicted"))
    assert 2 * (truth & found).sum() / (truth.sum() + found.sum()) > 0.9
    with Image.open("overlays/00.png") as overlay:
        assert overlay.size == (80, 64)


@pytest.mark.slow
def test_the_comparison_runs(place: Path) -> None:
    make_cells()
    (line,) = (line for line in shell_lines(PAGE) if line.startswith(COMPARISON))
    assert main(line.removeprefix("senet ").split()) == 0
    result = json.loads(Path("runs/compare-segmentation/result.json").read_text())
    assert [variant["label"] for variant in result["variants"]] == ["plain", "SE", "sSE", "scSE"]
    assert all(len(variant["runs"]) == 3 for variant in result["variants"])
    assert "region size" in Path("runs/compare-segmentation/report.html").read_text()


@pytest.mark.slow
def test_commands_run_on_nuclei(place: Path, shared_data: Path) -> None:
    copy_nuclei(shared_data)
    follow()
    assert RunFolder.at("runs/first").metrics()[-1]["val_dice"] > 20
