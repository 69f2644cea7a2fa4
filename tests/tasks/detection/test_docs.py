"""The tutorial of boxes runs as written on the cells that it makes."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pages import DOCS, examples, shell_lines
from senet.cli.main import main
from senet.results.run_folder import RunFolder

PAGE = DOCS / "tutorial_detection.md"
COMPARISON = "senet compare "


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    exec(compile(examples(PAGE, "python")[0][1], PAGE.name, "exec"), {})
    return tmp_path


def run(*, comparison: bool) -> None:
    """Run the comparison of the page, or its other commands."""
    for line in shell_lines(PAGE):
        if line.startswith(COMPARISON) == comparison:
            assert main(shlex.split(line)[1:]) == 0, line


def overlaps(box: list[float], others: np.ndarray) -> np.ndarray:
    """Return intersection over union of a box with others, all left, top, right, bottom."""
    sides = np.minimum(others[:, 2:], box[2:]) - np.maximum(others[:, :2], box[:2])
    shared = sides.clip(0).prod(1)
    return shared / ((others[:, 2:] - others[:, :2]).prod(1) + np.prod(np.subtract(box[2:], box[:2])) - shared)


def test_commands_run_on_the_cells_and_say_what_the_page_shows(place: Path, capsys: pytest.CaptureFixture) -> None:
    run(comparison=False)
    said = " ".join(capsys.readouterr().out.split())
    for line in (line for _, block in examples(PAGE, "") for line in block.splitlines() if "cells: " in line):
        assert " ".join(line.split()) in said, line
    assert "touching the border" in said
    assert RunFolder.at("runs/first").metrics()[-1]["val_ap50"] > 50
    assert {path.name for path in Path("found").iterdir()} == {f"{number:02}.json" for number in range(24)}
    listing = json.loads(Path("cells/train.json").read_text())
    corners = [entry["bbox"] for entry in listing["annotations"] if entry["image_id"] == 0]
    truth = np.array([[left, top, left + width, top + height] for left, top, width, height in corners])
    found = json.loads(Path("found/00.json").read_text())
    sure = [box for box, score in zip(found["boxes"], found["scores"], strict=True) if score > 0.5]
    assert len(sure) >= 3
    assert np.mean([overlaps(box, truth).max() > 0.5 for box in sure]) > 0.5
    with Image.open("pictures/00.png") as picture:
        assert picture.size == (80, 64)


@pytest.mark.slow
def test_the_comparison_runs(place: Path) -> None:
    run(comparison=True)
    result = json.loads(Path("runs/compare-detection/result.json").read_text())
    assert [variant["label"] for variant in result["variants"]] == ["plain", "SE"]
    assert all(len(variant["runs"]) == 3 for variant in result["variants"])
    assert "touching the border" in Path("runs/compare-detection/report.html").read_text()
