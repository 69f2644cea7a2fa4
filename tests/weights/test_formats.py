"""Files of other formats are named, with the way to weights out of them."""

import gzip
import io
import json
import os
import pickle
import tarfile
import warnings
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from torch import nn

from senet import load_weights
from senet.errors import UsageError


def torchscript(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        torch.jit.save(torch.jit.trace(nn.Linear(2, 3), torch.ones(1, 2)), path)


def exported(path: Path) -> None:
    torch.export.save(torch.export.export(nn.Linear(2, 3), (torch.ones(1, 2),)), path)


def saved(protocol: int, legacy: bool) -> Callable[[Path], None]:
    state = nn.Linear(2, 3).state_dict()
    return lambda path: torch.save(state, path, pickle_protocol=protocol, _use_new_zipfile_serialization=not legacy)


def tar(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("weights.pth"), io.BytesIO())


def zipped(*names: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, b"content")

    return write


def index(path: Path) -> None:
    names = {"fc.weight": "model-00001-of-00002.safetensors", "fc.bias": "model-00002-of-00002.safetensors"}
    path.write_text(json.dumps({"metadata": {}, "weight_map": names}))


FILES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "TorchScript": ("net.pt", torchscript, r"is a TorchScript archive.*torch\.jit\.load\(FILE\)\.state_dict\(\)"),
    "torch.export": ("net.pt2", exported, r"is a program of torch\.export.*torch\.export\.load"),
    "protocol 4": ("w.pth", saved(4, legacy=False), "is pickled by protocol 4 and is not read.*write it anew"),
    "protocol 4, legacy": ("w.pth", saved(4, legacy=True), "is pickled by protocol 4 and is not read.*write it anew"),
    "protocol 5": ("w.pth", saved(5, legacy=False), "is pickled by protocol 5 and is not read"),
    "protocol 3": ("w.pth", saved(3, legacy=True), "is pickled by protocol 3 and is not read"),
    "a plain pickle": ("w.pkl", lambda path: path.write_bytes(pickle.dumps({"a": 1})), "is pickled by protocol"),
    "Git LFS": (
        "w.safetensors",
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n"),
        "is a Git LFS pointer.*git lfs pull",
    ),
    "HTML": ("w.bin", lambda path: path.write_text("\n <!DOCTYPE html><title>404</title>"), "is an HTML or XML page"),
    "HDF5": ("w.h5", lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64)), "is an HDF5 file"),
    "Keras": ("w.keras", zipped("metadata.json", "config.json", "model.weights.h5"), "is a network of Keras"),
    "ONNX": ("net.ONNX", lambda path: path.write_bytes(b"\x08\x0a\x12\x07pytorch" + bytes(64)), "is an ONNX graph"),
    "TensorFlow": ("checkpoint", lambda path: path.write_text('model_checkpoint_path: "model.ckpt"'), "is a TensorFlow checkpoint"),
    "TensorFlow, numbers": ("m.ckpt.data-00000-of-00001", lambda path: path.write_bytes(bytes(99)), "part of a TensorFlow checkpoint"),
    "gzip": ("w.pth.gz", lambda path: path.write_bytes(gzip.compress(b"content")), r"is a compressed file \(gzip\).*unpack it"),
    "tar": ("w.tar", tar, "is a tar archive.*unpack it"),
    "npz": ("w.npz", lambda path: np.savez(path, a=np.ones(3)), "is an archive of NumPy arrays"),
    "npy": ("w.npy", lambda path: np.save(path, np.ones(3)), "is a NumPy array"),
    "zip with weights": ("w.zip", zipped("a/readme.txt", "a/weights.pth"), "is a zip archive; unpack it"),
    "zip without": ("w.zip", zipped("a.txt"), "is a zip archive without weights"),
    "parts": ("model.safetensors.index.json", index, "is the index of weights in 2 parts; join them"),
    "JSON": ("config.json", lambda path: path.write_text('{"a": 1}'), "is a JSON file, not weights"),
    "deep JSON": ("config.json", lambda path: path.write_text("[" * 100_000), "is a JSON file, not weights"),
    "text": ("w.pth", lambda path: path.write_text("hello " * 40), "not a safetensors file, or cut short"),
    "nothing": ("w.pth", lambda path: path.write_bytes(b""), "is empty"),
    "a broken zip": ("w.pth", lambda path: path.write_bytes(b"PK\x03\x04" + bytes(99)), "cut short or damaged"),
}


@pytest.mark.parametrize("kind", FILES)
def test_what_a_file_is_and_what_to_do(kind: str, tmp_path: Path) -> None:
    name, write, message = FILES[kind]
    write(tmp_path / name)
    with pytest.raises(UsageError, match=message) as raised:
        load_weights(nn.Linear(2, 3), tmp_path / name)
    assert "\n" not in str(raised.value)
    assert str(tmp_path / name) in str(raised.value)


FOLDERS = {
    ".": "is a folder; give a file of weights",
    "best.safetensors": "is a folder of a run; give FOLDER/best.safetensors",
    "pytorch_model.bin": "is a folder of a repository",
    "zero_to_fp32.py": "is a checkpoint of DeepSpeed in parts; run `python zero_to_fp32.py",
    ".metadata": r"is a checkpoint of torch\.distributed in parts.*dcp_to_torch",
    "saved_model.pb": "is a network of TensorFlow",
}


@pytest.mark.parametrize("member", FOLDERS)
def test_what_a_folder_is(member: str, tmp_path: Path) -> None:
    if member != ".":
        (tmp_path / member).touch()
    with pytest.raises(UsageError, match=FOLDERS[member]):
        load_weights(nn.Linear(2, 3), tmp_path)


def test_a_typo_in_a_path_is_answered_with_the_file_there(tmp_path: Path) -> None:
    (tmp_path / "best.safetensors").touch()
    with pytest.raises(UsageError, match=r"bst\.safetensors' does not exist \(did you mean 'best\.safetensors'\?\)"):
        load_weights(nn.Linear(2, 3), tmp_path / "bst.safetensors")
    with pytest.raises(UsageError, match="does not exist; give a file"):
        load_weights(nn.Linear(2, 3), tmp_path / "nowhere" / "bst.safetensors")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "w.pth")
    with pytest.raises(UsageError, match="is no ordinary file"):
        load_weights(nn.Linear(2, 3), tmp_path / "w.pth")


def test_a_file_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "w.pth").write_bytes(b"content")
    monkeypatch.setattr(Path, "open", lambda *args: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    with pytest.raises(UsageError, match=r"cannot open .*: Permission denied"):
        load_weights(nn.Linear(2, 3), tmp_path / "w.pth")


def test_suffixes_do_not_decide_where_bytes_do(tmp_path: Path) -> None:
    """A checkpoint is read under any name."""
    for name in ("weights.pth.tar", "weights.pkl", "weights.ckpt", "pytorch_model.bin", "weights", "weights.zip"):
        torch.save(nn.Linear(2, 3).state_dict(), tmp_path / name)
        load_weights(nn.Linear(2, 3), tmp_path / name)
