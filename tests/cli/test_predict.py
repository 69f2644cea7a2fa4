"""`senet predict`: what is printed, lines in a file that outlive any end, and what goes together."""

import io
import json
import os
import signal
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from PIL import Image

import senet
from faults.forked import code_of, fork
from senet.cli.main import main
from senet.cli.printing import JsonList
from senet.jsontext import json_text
from senet.spec import InputSpec
from senet.training.prediction_records import PredictionRecords

COUNT = 60


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with weights and images, of which one cannot be read."""
    folder = tmp_path_factory.mktemp("place")
    torch.manual_seed(0)
    model = senet.create_model("preresnet20", num_classes=3, in_channels=1)
    senet.save_weights(model, folder / "w.safetensors", classes=["ant", "bee", "cow"], input=InputSpec(8, 8, 1, (0.3,), (0.4,)))
    (folder / "images").mkdir()
    values = np.random.default_rng(0)
    for number in range(COUNT):
        pixels = values.integers(0, 256, (9 + number % 2, 9), np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{number:02}.png")
    (folder / "images" / "07.png").write_bytes(b"nothing")
    return folder


def words(*more: str) -> list[str]:
    return ["predict", *more, "--weights", "w.safetensors", "--quiet"]


@pytest.fixture
def there(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(place)
    return place


def killed_in_line(number: int, options: list[str]) -> int:
    """Predict until so many lines are added, and be killed in the middle of the next."""
    add = PredictionRecords.add

    def add_or_end(records: PredictionRecords, record: Mapping[str, Any]) -> None:
        if records.added == number:
            records._file.write(json_text(record, indent=None).encode()[:14])
            os.kill(os.getpid(), signal.SIGKILL)
        add(records, record)

    with patch.object(PredictionRecords, "add", add_or_end):
        return main(options)


def test_killed_again_and_again_the_file_is_that_of_one_go(there: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, hurt = tmp_path / "whole.jsonl", tmp_path / "hurt.jsonl"
    options = [*words("images", "--batch-size", "4"), "--workers", "0", "--out"]
    assert main([*words("images", "--batch-size", "4"), "--workers", "1", "--out", str(whole)]) == 1
    assert capsys.readouterr().out == f"{whole} is complete: 60 images, 1 of them could not be read; 60 added now\n"
    for number in (0, 9, 4):
        process = fork(partial(killed_in_line, number, [*options, str(hurt)]), tmp_path / "told")
        assert code_of(process) == -signal.SIGKILL, (tmp_path / "told").read_text()
    assert hurt.read_bytes().count(b"\n") == 13
    assert main([*options, str(hurt), "--json"]) == 1
    assert hurt.read_bytes() == whole.read_bytes()
    told = json.loads(capsys.readouterr().out)["records"]
    assert (told["images"], told["unreadable"]) == (60, 1)
    assert told["added"] == 60 - 13
    assert main([*options, str(hurt)]) == 1
    assert capsys.readouterr().out == f"{hurt} is complete: 60 images, 1 of them could not be read; 0 added now\n"
    assert main(words("images", "--top-k", "2", "--batch-size", "4", "--out", str(hurt))) == 2
    assert "was begun with top_k 5, now 2" in capsys.readouterr().err


def test_lines_and_a_folder_hold_the_same(there: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "found.jsonl"), "--out", str(tmp_path / "answers")]
    assert main(words("images/0[0-2].png", "images/05.png", *out)) == 0
    records = [json.loads(line) for line in (tmp_path / "found.jsonl").read_text().splitlines()]
    assert [record["image"] for record in records] == [f"images/0{number}.png" for number in (0, 1, 2, 5)]
    for record in records:
        assert json.loads(Path(record["files"]["out"]).read_text())["guesses"] == record["guesses"]


def test_lists_and_standard_input_name_images(
    there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "list.txt").write_text("images/03.png\nimages/01.png\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"images/02.png\n")))
    assert main(words(f"@{tmp_path}/list.txt", "-")) == 0
    assert [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()] == [f"images/0{number}.png" for number in (3, 1, 2)]


def test_strict_ends_with_one_line(there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words("images", "--strict")) == 1
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert "cannot read images/07.png" in said.err
    assert len(said.out.splitlines()) == 7


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--out", "a.jsonl", "--out", "b.jsonl"], "--out is one folder, one FILE.jsonl, or one of each, got a.jsonl, b.jsonl"),
        (["--out", "a", "--out", "b"], "--out is one folder"),
        (["--out", "w.safetensors/a.jsonl"], "is a file, and no folder"),
        (["--out", "a.jsonl", "--coco-results", "b.json"], "--coco-results needs all predictions of one go"),
        (["--every", "0"], "10 or 0.5s, got '0'"),
        (["--batch-size", "0"], "batch_size must be at least 1, got 0"),
        (["--workers", "-1"], "workers must be at least 0, got -1"),
        (["*.jpg"], "no file has a name of this pattern"),
    ],
)
def test_what_does_not_go_together_is_one_line(there: Path, more: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(there.iterdir())
    assert main(words("images", *more)) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert sorted(there.iterdir()) == before


@pytest.mark.parametrize("items", [[], [{"a": [1, {"b": "x\ny"}]}], [1, {}, [], None]], ids=len)
@pytest.mark.parametrize("others", [{}, {"coco": {"notes": ["x"], "none": []}, "other": 3}], ids=len)
def test_a_list_that_is_printed_piece_by_piece_reads_as_if_at_once(
    items: list[Any], others: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    shown = JsonList("items")
    for item in items:
        shown.add(item)
    shown.end(others)
    assert capsys.readouterr().out == json_text({"items": items, **others}) + "\n"
