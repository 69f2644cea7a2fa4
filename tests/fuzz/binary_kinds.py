"""Files of numbers that anybody may have written: weights, volumes, shards, images, arrays."""

import gzip
import io
import json
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from conftest import write_cifar10
from data.made_images import image_files
from data.volumes.made_volumes import turned_affine, write_volume
from fuzz.contract import Kind, written
from mutation import changed_bytes
from oracles.caffe_writer import LAYERS, STYLES, network
from senet.data.box_files import BoxedImages, BoxTable
from senet.data.cifar import open_source
from senet.data.coco.blobs import Entries
from senet.data.folder import ImageFiles
from senet.data.image_file import ImageReading, read_image
from senet.data.shards.forms import TARGET_FORMS
from senet.data.shards.index import ARRAY_KINDS, ShardIndex, read_index
from senet.data.shards.manifest import ShardedSplit, StoredFile
from senet.data.source import UnreadableImageError
from senet.data.volumes.nifti import read_header, read_labels, read_values
from senet.errors import UsageError
from senet.recipe import DataRecipe
from senet.weights.caffe.file import parse
from senet.weights.caffe.release import layer_tensors
from senet.weights.store import read_file, save_weights

MOST_VOXELS = 10**6

SPLIT = ShardedSplit(3, (1, 2), StoredFile("train.npz", 1, "0" * 64), (StoredFile("train-0.tar", 9000, "0" * 64),) * 2)


def safetensors_files(folder: Path) -> list[bytes]:
    save_weights(nn.Linear(3, 4), folder / "made", classes="abcd", extra={"epoch": 3})
    return [(folder / "made").read_bytes()]


def torch_files(folder: Path) -> list[bytes]:
    state = {"state_dict": {"conv.weight": torch.arange(12.0).reshape(4, 3), "conv.bias": torch.zeros(4)}, "epoch": 3, "lr": np.float64(1)}
    for zipped in (True, False):
        torch.save(state, folder / f"made{zipped}", _use_new_zipfile_serialization=zipped)
    return [(folder / f"made{zipped}").read_bytes() for zipped in (True, False)]


def volumes(packed: bool) -> Callable[[Path], list[bytes]]:
    def samples(folder: Path) -> list[bytes]:
        files = []
        for number, dtype in enumerate(("u1", ">i2", "f4", "f8")):
            values = np.random.default_rng(number).integers(0, 100, (3, 5, 4)).astype(dtype)
            content = write_volume(folder / f"{number}.nii", values, turned_affine()).read_bytes()
            files.append(gzip.compress(content, mtime=0) if packed else content)
        return files

    return samples


def read_volume(content: bytes, folder: Path) -> None:
    header = read_header(written(folder, "a.nii", content), MOST_VOXELS)
    for read in (read_labels, read_values):
        read(header)


def index_files(folder: Path) -> list[bytes]:
    index = shard_index({"targets": np.arange(3) // 2})
    arrays: dict[str, Any] = {name: getattr(index, name) for name in ARRAY_KINDS} | index.targets
    stored = io.BytesIO()
    np.savez(stored, **arrays)
    return [index.to_bytes(), stored.getvalue()]


def box_index_files(folder: Path) -> list[bytes]:
    numbers, flat = np.arange(3), np.zeros(2, np.float32)
    shapes = Entries([[[[0, 0, 1, 1]]], [], [[[1, 2, 3, 4]]]])
    starts, corners, sizes = np.array([0, 1, 1, 2]), np.zeros((2, 4), np.float32), np.full((3, 2), 9)
    table = BoxTable(starts, corners, numbers[:2], flat > 0, flat, numbers, sizes, numbers, shapes)
    images = BoxedImages(ImageFiles(folder, np.array([b"a", b"b", b"c"]), None), table)
    return [shard_index(TARGET_FORMS["detection"].arrays(images, 2)).to_bytes()]


def shard_index(targets: dict[str, np.ndarray]) -> ShardIndex:
    numbers = np.arange(3, dtype=np.int64)
    return ShardIndex(numbers // 2, 1000 * numbers, numbers + 1, np.array([b"a/1.png", b"b/2.png", b"b/3.png"]), targets)


def reads_index(task: str) -> Callable[[bytes, Path], object]:
    form = TARGET_FORMS[task]

    def read(content: bytes, folder: Path) -> None:
        targets = form.targets(read_index(content, SPLIT, form, "train.npz").targets, lambda index: b"", str, ImageReading())
        for index in range(SPLIT.images):
            targets[index]

    return read


def npz(**members: bytes) -> bytes:
    """Return an archive of NumPy arrays, each of which may say anything."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {
            **dict.fromkeys(("shards", "offsets", "sizes", "targets", "names"), npy("(3,)", bytes(24))),
            **members,
        }.items():
            archive.writestr(f"{name}.npy", content)
    return file.getvalue()


def npy(shape: str, content: bytes = b"", kind: str = "<i8") -> bytes:
    header = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content


def read_picture(content: bytes, folder: Path) -> None:
    image = read_image(written(folder, "x", content), ImageReading(None if len(content) % 2 else (0, 200)))
    assert image.mode == "RGB"


def cifar_files(folder: Path) -> list[bytes]:
    if not (folder / "cifar-10-batches-py").exists():
        pixels = np.zeros((10, 32, 32, 3), np.uint8)
        write_cifar10(folder, pixels, np.arange(10), pixels[:2], np.arange(2))
    return [(folder / "cifar-10-batches-py" / name).read_bytes() for name in ("test_batch", "batches.meta")]


def read_cifar(content: bytes, folder: Path) -> None:
    name = "batches.meta" if b"label_names" in content else "test_batch"
    place = folder / "cifar-10-batches-py"
    before = (place / name).read_bytes()
    try:
        written(place, name, content)
        open_source(DataRecipe(name="cifar10", root=str(folder)))
    finally:
        written(place, name, before)


def safetensors_of(header: Any) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text


def with_dims(content: bytes, *dims: int) -> bytes:
    """Return a NIfTI file that promises other axes."""
    return content[:42] + struct.pack("<3h", *dims) + content[48:]


WEIGHTS = Kind(safetensors_files, lambda content, folder: read_file(written(folder, "w", content)), changed_bytes, many=100_000)
VOLUME = Kind(volumes(packed=False), read_volume, changed_bytes, errors=(UsageError, ValueError), many=100_000)
SOUND = b"\x5c\x01\x00\x00" + bytes(36) + struct.pack("<8h", 3, 1, 1, 1, 1, 1, 1, 1) + bytes(14) + struct.pack("<2h", 2, 8) + bytes(270)

BINARY = {
    "safetensors": replace(
        WEIGHTS,
        hostile=(
            struct.pack("<Q", 2**63) + b"{}",
            safetensors_of(b"[" * 10**6),
            safetensors_of({"a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 2**62]}}),
            safetensors_of({"__metadata__": {"model": "[" * 10**5}}),
            safetensors_of({"__metadata__": {"extra": '{"a": ' + "9" * 10**5 + "}"}}),
            safetensors_of({"__metadata__": {"extra": '{"a": 1, "a": 2}'}}),
        ),
    ),
    "torch.save": replace(WEIGHTS, samples=torch_files),
    "Caffe": Kind(
        lambda folder: [network(LAYERS, style) for style in STYLES],
        lambda content, folder: layer_tensors(parse(content)),
        changed_bytes,
        many=100_000,
    ),
    "NIfTI": replace(VOLUME, hostile=(with_dims(SOUND, 32767, 32767, 32767), with_dims(SOUND, 90, 90, 90), b"\x1f\x8b" + bytes(60))),
    "NIfTI, gzip": replace(
        VOLUME,
        samples=volumes(packed=True),
        hostile=tuple(
            gzip.compress(content) for content in (with_dims(SOUND, 32767, 32767, 32767), with_dims(SOUND, 100, 100, 101), bytes(2**26))
        ),
    ),
    "index of shards": Kind(
        index_files,
        reads_index("classification"),
        changed_bytes,
        (
            npz(shards=npy("(3,)", bytes(2**28))),
            npz(shards=npy(f"({2**60},)")),
            npz(shards=npy(f"({2**27},)", bytes(2**30))),
            npz(names=npy("(3,)", bytes(2**28), f"|S{2**28 // 3}")),
            npz(shards=npy("(" * 500 + ")" * 500)),
            npz(shards=b"no array"),
            npz(names=npy("(3,)", bytes(24), "|O")),
            npz(shards=npy("(3,)", b"cos\nsystem\n(S'true'\ntR.", "|O")),
        ),
        many=100_000,
    ),
    "index of boxes in shards": Kind(box_index_files, reads_index("detection"), changed_bytes, many=100_000),
    "CIFAR": Kind(
        cifar_files, read_cifar, changed_bytes, (b"cos\nsystem\n(S'true'\ntR.", b"\x80\x05\x96" + bytes(5) + b"\x01\0\0."), many=10_000
    ),
    "images": Kind(
        lambda folder: list(image_files().values()),
        read_picture,
        changed_bytes,
        errors=(UnreadableImageError,),
        many=100_000,
        memory=10**9,  # of an image whose header has as many pixels as are allowed (docs/security.md)
    ),
}
"""Files of numbers by what they are."""
