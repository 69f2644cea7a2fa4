"""A file of weights that is not what was written is not loaded, and any program reads one that is."""

import json
import random
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save, save_file
from torch import nn

from senet.errors import UsageError
from senet.weights.seal import check_sealed
from senet.weights.store import read_file, read_metadata, save_weights


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a file of a small network's weights."""
    torch.manual_seed(0)
    path = tmp_path / "net.safetensors"
    save_weights(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), path, classes=["chat", "chien é"], extra={"epoch": 3})
    return path


def test_any_program_reads_it(path: Path) -> None:
    tensors = load_file(path)
    assert tensors.keys() == {"0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"}
    with safe_open(path, framework="pt") as file:
        assert json.loads(file.metadata()["classes"]) == ["chat", "chien é"]
    length = int.from_bytes(path.read_bytes()[:8], "little")
    assert length % 8 == 0, "tensors begin aligned"


def test_any_flipped_bit_is_seen(path: Path) -> None:
    content = path.read_bytes()
    whole = read_file(path)
    for place in random.Random(0).sample(range(8, len(content)), 200):
        flipped = bytearray(content)
        flipped[place] ^= 1
        path.write_bytes(flipped)
        try:
            tensors, metadata = read_file(path)
        except UsageError:
            continue
        assert b'"sha256"' not in flipped, f"bit of byte {place}"  # the key itself: all else is as it was
        assert metadata == whole[1]
        assert all(torch.equal(tensor, whole[0][name]) for name, tensor in tensors.items())


def test_the_tensors_count_and_the_line_says_what_to_do(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    assert read_metadata(path).extra == {"epoch": 3}, "what the file says about itself is read without its tensors"
    with pytest.raises(UsageError, match=r"net.safetensors' is damaged: .* restore it from a copy or train it again"):
        read_file(path)


def test_a_file_without_a_checksum_is_read_as_before(tmp_path: Path) -> None:
    save_file({"w": torch.ones(2)}, tmp_path / "other.safetensors")
    check_sealed(tmp_path / "other.safetensors")
    assert torch.equal(read_file(tmp_path / "other.safetensors")[0]["w"], torch.ones(2))


def test_a_program_that_leaves_the_key_out_may_rewrite_it(path: Path) -> None:
    with safe_open(path, framework="pt") as file:
        kept = {key: value for key, value in file.metadata().items() if key != "sha256"}
    path.write_bytes(save({name: tensor.half() for name, tensor in load_file(path).items()}, kept))
    assert read_file(path)[0]["0.weight"].dtype == torch.float16
