"""`senet shards`: what it writes, checks and refuses, and a network that is trained on it."""

import json
from pathlib import Path

import pytest

from data.shards.made_folder import make_folder, write_masks
from senet.cli.main import main


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "photos")


def test_built_checked_and_seen_by_doctor(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "shards"
    assert main(["shards", "build", str(root), str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["classes"], said["splits"]["train"]["class_counts"], said["notes"]) == (["cat", "dog", "owl"], [12, 12, 12], [])
    assert main(["shards", "check", str(out)]) == 0
    assert "36 images in 1 shard, " in " ".join(capsys.readouterr().out.split())
    assert main(["shards", "build", str(root), str(out)]) == 0
    assert "2 shards were there already" in " ".join(capsys.readouterr().out.split())
    main(["doctor", "--data-root", str(out)])
    assert "36 training and 12 validation images of 3 classes" in " ".join(capsys.readouterr().out.split())


def test_masks_are_recognised_and_what_they_mean_is_said_by_fields(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = write_masks(tmp_path / "cells")
    words = ["shards", "build", str(root), str(tmp_path / "out")]
    assert main([*words, "--data.masks", "instances", "--data.classes", "[cell]", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["task"], said["classes"]) == ("segmentation", ["background", "cell"])
    assert main([*words, "--training.epochs", "3"]) == 2
    assert "--training.epochs says nothing of shards" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["build", "ROOT"], "`senet shards build` needs two folders"),
        (["check", "ROOT", "more"], "`senet shards check` takes one folder, got 'more', too"),
        (["check", "ROOT"], "shards.json cannot be read: No such file or directory"),
        (["check", "s3://bucket/x"], "reads a folder, and 's3://bucket/x' is an address: check before the upload, or download it"),
        (["build", "ROOT", "out", "--shard-mb", "0"], "--shard-mb must be from 1 to 1000000, got 0"),
        (["build", "ROOT", "out", "--data-name", "digits"], "shards are built of image files with classes, masks or boxes"),
        (["build", "nowhere", "out"], "data.root 'nowhere' is not a folder"),
        (["mend", "ROOT"], "invalid choice: 'mend'"),
    ],
)
def test_what_cannot_be_is_one_line(root: Path, words: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["shards", *(str(root) if word == "ROOT" else word for word in words)]) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert line in told
    assert not Path("out").exists()
