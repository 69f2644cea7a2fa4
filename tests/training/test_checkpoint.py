"""A checkpoint comes back as it was, and anything else is one line."""

import os
from pathlib import Path

import pytest
import torch

from made_runs import assert_same
from senet.errors import UsageError
from senet.training.checkpoint import read_checkpoint, write_checkpoint


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    state = {"model": {"w": torch.randn(3, 4).to(memory_format=torch.contiguous_format)}, "epoch": 3, "rows": [{"loss": 0.1}], "best": None}
    write_checkpoint(tmp_path / "last.ckpt", state)
    read = read_checkpoint(tmp_path / "last.ckpt")
    del read["format"]
    assert_same(read, state)


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: torch.save({"format": 1, "epoch": Bomb()}, path), "is damaged or no checkpoint"),
        (lambda path: path.write_bytes(b"not a checkpoint"), "is damaged or no checkpoint"),
        (lambda path: path.write_bytes(b""), "is damaged or no checkpoint"),
        (lambda path: torch.save({"model": {}}, path), "another version"),
        (lambda path: torch.save([1], path), "another version"),
        (lambda path: torch.save({"format": 3}, path), "another version"),
    ],
    ids=["bomb", "text", "empty", "no format", "list", "later format"],
)
def test_what_is_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "last.ckpt"
    write(path)
    with pytest.raises(UsageError, match=message):
        read_checkpoint(path)
    assert not (tmp_path / "exploded").exists()


def test_a_truncated_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    write_checkpoint(path, {"model": {"w": torch.randn(1000)}})
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UsageError, match="is damaged"):
        read_checkpoint(path)
