"""The .caffemodel files of Caffe: its NetParameter, a protocol buffer, read as layers and their blobs.

Files come from anywhere: every length is checked against the message around it, messages are three levels deep and no more, and memory
holds little beside the numbers of the blobs.
"""

import math
import mmap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from senet.errors import UsageError
from senet.file_kind import user_path
from senet.weights.caffe.protobuf import FIXED32, FIXED64, FieldValue, MalformedError, field, fields, integers, read_unpacked, to_signed
from senet.weights.check import short

MOST = 20_000
"""How many layers, and how many blobs, a file may have; SENet-154 has some 900 and 1,144."""
MOST_BLOBS = 64
"""How many blobs one layer may have."""
MOST_AXES = 32
"""How many axes Caffe lets a blob have."""
LONGEST_NAME = 512
"""How many bytes a name may have."""


@dataclass(frozen=True)
class LayerBlobs:
    """One layer: its name, its type ("Convolution") and its learnt blobs, float32 tensors."""

    name: str
    type: str
    blobs: tuple[Tensor, ...] = ()


LAYER = 100
"""NetParameter's field with layers; the form of 2014 and before is older than any network with SE."""
NAME, TYPE, BLOBS = 1, 2, 7
"""LayerParameter's fields that are read."""

LEGACY_DIMS = (1, 2, 3, 4)
DATA, BLOB_SHAPE, DOUBLE_DATA = 5, 7, 8
"""BlobProto's fields that are read: the four legacy dims, or a shape, and the numbers in either precision."""
NUMBERS = {DATA: torch.float32, DOUBLE_DATA: torch.float64}
RUNS = {DATA << 3 | FIXED32: DATA, DOUBLE_DATA << 3 | FIXED64: DOUBLE_DATA}
"""Key byte of a number that stands alone, not packed with others -> its field."""

SIGNATURES = {
    b"<": "an HTML or XML page; the download probably failed: fetch it again",
    b"PK": "a zip archive, such as torch.save writes",
    b"\x80\x02": "a pickle, such as torch.save writes",
    b"\x89HDF": "an HDF5 file; let Caffe save the network with snapshot_format: BINARYPROTO",
    b"\x1f\x8b": "compressed by gzip; unpack it first",
    b"name:": "a network's definition (.prototxt); its weights are in the .caffemodel beside it",
    b"layer": "a network's definition (.prototxt); its weights are in the .caffemodel beside it",
}
"""First bytes of what people take for a .caffemodel -> what it is."""


def read_layers(path: str | Path) -> dict[str, LayerBlobs]:
    """Return the layers of a .caffemodel by name, in the order of the file.

    The file is mapped, so memory holds the blobs and the pages that are being read.

    Raises:
        UsageError: if the file is missing, is something else, is cut short or damaged.
    """
    path = user_path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise UsageError(f"{str(path)!r} {what}; give a .caffemodel file")
    if not path.stat().st_size:
        raise UsageError(f"{str(path)!r} is empty; fetch it again")
    with path.open("rb") as file:
        return parse(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), str(path))


def parse(contents: bytes | mmap.mmap, source: str = "buffer") -> dict[str, LayerBlobs]:
    """Return the layers of a .caffemodel's contents by name, in their order.

    Args:
        contents: a serialised NetParameter.
        source: what errors call it.

    Raises:
        UsageError: if it is no NetParameter with layers, is cut short or damaged.
    """
    try:
        return _network(memoryview(contents))
    except MalformedError as error:
        raise UsageError(f"{source!r} is not a .caffemodel: it {_describe_contents(contents[:64], error)}") from None


def _describe_contents(start: bytes, error: MalformedError) -> str:
    if start[8:9] == b"{":
        return "looks like a safetensors file"
    found = (f"is {what}" for known, what in SIGNATURES.items() if start.lstrip().startswith(known))
    return next(found, f"is something else, cut short or damaged ({error}); fetch it again")


def _network(message: memoryview) -> dict[str, LayerBlobs]:
    layers: dict[str, LayerBlobs] = {}
    blobs = 0
    for number, value in fields(message):
        if number != LAYER or not isinstance(value, memoryview):
            continue
        layer = _layer(value)
        if layer.name in layers:
            raise MalformedError(f"two layers are called {short(layer.name)}")
        layers[layer.name] = layer
        blobs += len(layer.blobs)
        if max(len(layers), blobs) > MOST:
            raise MalformedError(f"more than {MOST} layers or blobs")
    if not layers:
        raise MalformedError("no layers")
    return layers


def _layer(message: memoryview) -> LayerBlobs:
    name, kind = "", ""
    blobs: list[memoryview] = []
    for number, value in fields(message):
        if number == NAME:
            name = _text(value)
        elif number == TYPE:
            kind = _text(value)
        elif number == BLOBS and isinstance(value, memoryview):
            blobs.append(value)
            if len(blobs) > MOST_BLOBS:
                raise MalformedError(f"a layer has more than {MOST_BLOBS} blobs")
    tensors = []
    for index, blob in enumerate(blobs):
        try:
            tensors.append(_blob(blob))
        except MalformedError as error:
            raise MalformedError(f"layer {short(name)}, blob {index}: {error}") from None
    return LayerBlobs(name, kind, tuple(tensors))


def _blob(message: memoryview) -> Tensor:
    dims: list[int] = []
    legacy: dict[int, int] = {}
    numbers = {number: bytearray() for number in NUMBERS}
    position = 0
    while position < len(message):
        if alone := RUNS.get(message[position]):
            position = read_unpacked(message, position, NUMBERS[alone].itemsize, numbers[alone])
            continue
        number, value, position = field(message, position)
        if number in numbers and isinstance(value, memoryview):
            numbers[number] += value
        elif number == BLOB_SHAPE and isinstance(value, memoryview):
            _add_dims(value, dims)
        elif number in LEGACY_DIMS and isinstance(value, int):
            legacy[number] = to_signed(value)
    if legacy and not dims:
        dims = [legacy.get(number, 0) for number in LEGACY_DIMS]
    return _tensor(numbers, dims)


def _add_dims(shape: memoryview, dims: list[int]) -> None:
    for number, value in fields(shape):
        if number != 1:
            continue
        for dim in integers(value):
            dims.append(dim)
            if len(dims) > MOST_AXES:
                raise MalformedError(f"more than {MOST_AXES} axes")


def _tensor(numbers: Mapping[int, bytearray], dims: Sequence[int]) -> Tensor:
    number = DOUBLE_DATA if numbers[DOUBLE_DATA] else DATA  # as Caffe itself decides
    dtype, data = NUMBERS[number], numbers[number]
    count, rest = divmod(len(data), dtype.itemsize)
    if rest:
        raise MalformedError(f"{len(data)} bytes of numbers that have {dtype.itemsize} each")
    if any(dim < 1 for dim in dims) or math.prod(dims) != count:
        raise MalformedError(f"{count} numbers for the shape ({', '.join(map(str, dims))})")
    return torch.frombuffer(data, dtype=dtype).float().reshape(tuple(dims))


def _text(value: FieldValue) -> str:
    if not isinstance(value, memoryview):
        raise MalformedError("a name is not text")
    if len(value) > LONGEST_NAME:
        raise MalformedError(f"a name of {len(value)} bytes")
    text = str(value, "utf-8", "replace")
    if not text.isprintable():  # names go into errors, which are one line
        raise MalformedError(f"a name with control characters, {short(text)}")
    return text
