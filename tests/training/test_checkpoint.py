"""A checkpoint comes back as it was, a damaged one is replaced by the one before, and anything else is one line."""

import logging
import os
import random
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from made_runs import assert_same
from senet.errors import UsageError
from senet.results.run_folder import RunFolder
from senet.training.checkpoint import DamagedCheckpointError, latest_checkpoint, read_checkpoint, write_checkpoint
from senet.weights.store import read_weights

STATE = {"model": {"w": torch.arange(1000.0)}, "epoch": 3, "rows": [{"loss": 0.1}], "best": None}


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    state = {**STATE, "model": {"w": torch.randn(3, 4).to(memory_format=torch.contiguous_format)}}
    write_checkpoint(RunFolder(tmp_path), state)
    read = read_checkpoint(tmp_path / "last.ckpt")
    del read["format"], read["senet"]
    assert_same(read, state)


def test_other_programs_read_it(tmp_path: Path) -> None:
    write_checkpoint(RunFolder(tmp_path), STATE)
    assert torch.equal(torch.load(tmp_path / "last.ckpt", weights_only=True)["model"]["w"], STATE["model"]["w"])
    assert read_weights(tmp_path / "last.ckpt").keys() == {"w"}, "as a file of weights, too"


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: torch.save({"format": 1, "epoch": Bomb()}, path), "is damaged or no checkpoint"),
        (lambda path: path.write_bytes(b"not a checkpoint"), "is damaged or no checkpoint"),
        (lambda path: path.write_bytes(b""), "is damaged or no checkpoint"),
        (lambda path: path.write_bytes(random.Random(0).randbytes(5000)), "is damaged or no checkpoint"),
        (lambda path: torch.save({"model": {}}, path), "no checkpoint of senet: its format is None"),
        (lambda path: torch.save([1], path), "its format is None"),
        (lambda path: torch.save({"format": 4}, path), r"another version of senet, 'unknown', in format 4; this one, .*, reads 1 to 3"),
        (lambda path: torch.save({"format": 4, "senet": "9.1"}, path), r"another version of senet, '9\.1', .* go on with that one"),
        (lambda path: torch.save({"format": 0}, path), "in format 0"),
        (lambda path: torch.save({"format": [3]}, path), "its format is "),
        (lambda path: torch.save({"format": 3}, path), "its checksum is missing"),
        (lambda path: path.mkdir(), "is not a file"),
        (lambda path: os.mkfifo(path), "is not a file"),
        (lambda path: path.symlink_to("nowhere"), "is missing"),
    ],
    ids=[
        "bomb",
        "text",
        "empty",
        "noise",
        "no format",
        "list",
        "later",
        "later by name",
        "before all",
        "odd",
        "unsealed",
        "folder",
        "pipe",
        "link to nothing",
    ],
)
def test_what_is_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], object], message: str) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "last.ckpt"
    write(path)
    with pytest.raises(UsageError, match=message):
        read_checkpoint(path)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("length", [0, 1, 76, 2000, -1, -72, -73, -400])
def test_a_truncated_checkpoint(tmp_path: Path, length: int) -> None:
    path = tmp_path / "last.ckpt"
    write_checkpoint(RunFolder(tmp_path), STATE)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DamagedCheckpointError):
        read_checkpoint(path)


@pytest.fixture
def two(tmp_path: Path) -> RunFolder:
    """Return a folder with two checkpoints, of epochs 3 and 4."""
    run = RunFolder(tmp_path)
    write_checkpoint(run, STATE)
    write_checkpoint(run, {**STATE, "epoch": 4})
    return run


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_any_flipped_bit_is_seen(two: RunFolder) -> None:
    content = two.checkpoint.read_bytes()
    for place in random.Random(0).sample(range(len(content)), 200):
        flip(two.checkpoint, place)
        with pytest.raises(DamagedCheckpointError):
            read_checkpoint(two.checkpoint)
        two.checkpoint.write_bytes(content)


def test_the_one_before_is_kept_and_takes_the_place_of_a_damaged_one(two: RunFolder, caplog: pytest.LogCaptureFixture) -> None:
    assert (read_checkpoint(two.checkpoint)["epoch"], read_checkpoint(two.previous)["epoch"]) == (4, 3)
    assert latest_checkpoint(two)["epoch"] == 4
    assert caplog.text == ""
    flip(two.checkpoint, 700)
    with caplog.at_level(logging.WARNING):
        assert latest_checkpoint(two)["epoch"] == 3
    assert "last.ckpt' is damaged: it is not what was written, by its checksum: going on from previous.ckpt" in caplog.text
    assert read_checkpoint(two.checkpoint)["epoch"] == 3, "the next one to be written must not push a damaged one behind it"


def test_a_process_killed_between_two_names_leaves_the_one_before(two: RunFolder, caplog: pytest.LogCaptureFixture) -> None:
    two.checkpoint.unlink()
    assert two.has_checkpoint()
    assert latest_checkpoint(two)["epoch"] == 3
    assert "is missing: going on from previous.ckpt" in caplog.text


def test_both_damaged_is_one_line_with_the_remedy(two: RunFolder) -> None:
    flip(two.checkpoint, 700)
    flip(two.previous, 700)
    with pytest.raises(UsageError, match=r"last.ckpt' is damaged.*previous.ckpt' is damaged.*remove .* to train it from its start"):
        latest_checkpoint(two)


def test_one_of_a_later_version_is_no_reason_to_fall_back(two: RunFolder) -> None:
    torch.save({"format": 99}, two.checkpoint)
    with pytest.raises(UsageError, match="another version"):
        latest_checkpoint(two)
    assert read_checkpoint(two.previous)["epoch"] == 3


def test_a_full_disk_is_one_line_and_leaves_both_as_they_were(two: RunFolder) -> None:
    before = {path.name: path.read_bytes() for path in two.path.iterdir()}
    code = "import sys, torch; from senet.training.checkpoint import *\n"
    code += "write_checkpoint(RunFolder(Path(sys.argv[1])), {'w': torch.ones(300000)})"

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))

    found = subprocess.run([sys.executable, "-c", code, two.path], preexec_fn=limited, stderr=subprocess.PIPE, text=True)
    last = found.stderr.splitlines()[-1]
    assert last.startswith("senet.atomic.DiskFullError: cannot write "), found.stderr
    assert "last.ckpt: File too large, " in last
    assert {path.name: path.read_bytes() for path in two.path.iterdir()} == before
