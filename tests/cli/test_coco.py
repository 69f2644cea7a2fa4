"""`senet coco`: what it writes and says, and what it refuses."""

import json
from pathlib import Path

import pytest
from pycocotools.coco import COCO

from data.made_boxes import voc_object, write_voc, write_yolo
from senet.cli.main import main

CAT = voc_object("cat", (3, 4, 7, 7))
FAULTY = voc_object("cat", (30, 4, 35, 7))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_voc(tmp_path / "cells", {name: [CAT, FAULTY] for name in "abcd"}, {"train": "a\nb\nc", "val": "d"})


def test_files_are_written_and_what_was_dropped_is_counted(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["coco", str(root), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [Path(file.pop("file")) for file in said["files"]] == [root / "instances_train.json", root / "instances_val.json"]
    assert said["files"] == [
        {"images": 3, "boxes": 3, "crowd": 0, "unreadable": []},
        {"images": 1, "boxes": 1, "crowd": 0, "unreadable": []},
    ]
    assert said["classes"] == ["cat"]
    assert any(
        note.endswith("train: 3 boxes outside of their image, left out: JPEGImages/a.png, JPEGImages/b.png, JPEGImages/c.png")
        for note in said["notes"]
    )
    assert len(COCO(str(root / "instances_train.json")).anns) == 3


def test_a_table_says_the_same(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["coco", str(root), "--to", str(root / "coco")]) == 0
    assert "3 images, 3 boxes" in " ".join(capsys.readouterr().out.split())
    assert sorted(path.name for path in (root / "coco").iterdir()) == ["instances_train.json", "instances_val.json"]


def test_an_image_of_unknown_size_is_said_to_be_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = "0 0.25 0.5 0.3 0.4\n"
    write_yolo(tmp_path, {"a": line, "b": line}, {"c": line})
    (tmp_path / "images" / "train" / "b.png").write_bytes(b"damaged")
    assert main(["coco", str(tmp_path)]) == 0
    assert "1 image of unknown size: images/train/b.png" in " ".join(capsys.readouterr().out.split())


def test_what_is_there_is_written_over_if_asked(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["coco", str(root), "--to", str(tmp_path / "out")]
    assert main(command) == 0
    assert main(command) == 2
    assert "exists; --force writes over it" in capsys.readouterr().err
    (tmp_path / "out" / "instances_val.json").write_text("old")
    assert main([*command, "--force"]) == 0
    assert len(COCO(str(tmp_path / "out" / "instances_val.json")).anns) == 1


def test_what_is_read_is_not_written_over(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["coco", str(root)]) == 0
    before = (root / "instances_train.json").read_bytes()
    assert main(["coco", str(root), "--force"]) == 2
    assert "instances_train.json is what is read; name another folder, --to DIR" in capsys.readouterr().err
    assert main(["coco", str(root), "--force", "--data-name", "voc"]) == 0
    assert (root / "instances_train.json").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data-name", "masks"], "unknown --data-name 'masks'"),
        (["--val-share", "2"], "data.val_share"),
        (["--to", "JPEGImages/a.png"], "a.png"),
    ],
)
def test_what_cannot_be_is_refused(
    root: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    assert main(["coco", str(root), *words]) == 2
    assert message in capsys.readouterr().err
    assert not list(root.glob("*.json"))
