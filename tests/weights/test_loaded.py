"""What tells the weights that a training began from."""

import hashlib
from pathlib import Path

import torch

from senet.spec import BlockSpec
from senet.weights.loaded import LOADED, LoadedWeights, file_of, fingerprint_at_hand, fingerprint_of_file
from senet.weights.tensor_fingerprint import fingerprint_of_tensors


def test_a_files_fingerprint_is_what_sha256sum_says(tmp_path: Path) -> None:
    content = bytes(range(256)) * 9000
    path = tmp_path / "file"
    path.write_bytes(content)
    assert fingerprint_of_file(path) == hashlib.sha256(content).hexdigest() == fingerprint_at_hand(str(path))
    assert fingerprint_at_hand("timm/resnet18") is None


def test_the_weights_of_a_run_are_its_best(tmp_path: Path) -> None:
    (tmp_path / "best.safetensors").write_bytes(b"x")
    assert file_of(str(tmp_path)) == str(tmp_path / "best.safetensors")
    assert fingerprint_at_hand(str(tmp_path)) == hashlib.sha256(b"x").hexdigest()
    assert file_of("timm/resnet18") == "timm/resnet18"


def test_tensors_are_told_by_name_type_shape_and_value_not_by_layout() -> None:
    weight = torch.randn(4, 3, 2, 2)
    same = fingerprint_of_tensors({"b": torch.tensor(3), "a": weight.to(memory_format=torch.channels_last)})
    assert fingerprint_of_tensors({"a": weight, "b": torch.tensor(3)}) == same
    changed = weight.clone()
    changed[0, 0, 0, 0] += 1
    others = [
        {"a": changed, "b": torch.tensor(3)},
        {"a": weight.flatten(), "b": torch.tensor(3)},
        {"c": weight, "b": torch.tensor(3)},
        {"a": weight, "b": torch.tensor(3, dtype=torch.int32)},
        {"a": weight.bfloat16(), "b": torch.tensor(3)},
    ]
    assert len({same, *map(fingerprint_of_tensors, others)}) == 6


def test_what_was_loaded_is_plain_data() -> None:
    loaded = LoadedWeights("timm/x", "0" * 64, ("fc.bias",), {"v1_5": True, "block": BlockSpec("se", hidden={2: 8})})
    tree = loaded.to_dict()
    LOADED.check(tree, "weights")
    assert BlockSpec.from_dict(tree["options"]["block"]) == loaded.options["block"]
