"""Where each image of a split lies in its shards, and its class: a file of NumPy arrays."""

import zipfile
from dataclasses import dataclass
from io import BytesIO

import numpy as np

from senet.data.shards.manifest import ShardedSplit
from senet.errors import UsageError

ARRAY_KINDS = {"shards": "i", "offsets": "i", "sizes": "i", "targets": "i", "names": "S"}
"""Array -> the kind of its type."""

MOST_TIMES = 100
"""How many times its size an index may unpack to, beside `ALWAYS` bytes; indices of millions of images unpack to some ten."""

ALWAYS = 2**24


@dataclass(frozen=True)
class ShardIndex:
    """Places of N images, in the order in which they are numbered; in few blocks of memory, which worker processes share.

    Args:
        shards: (N,) int64, the shard of each.
        offsets: (N,) int64, where its file begins in the shard.
        sizes: (N,) int64, bytes of its file.
        targets: (N,) int64, its class.
        names: (N,) bytes, its path in the folder that the shards were made of.
    """

    shards: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray
    targets: np.ndarray
    names: np.ndarray

    def to_bytes(self) -> bytes:
        """Return the content of the index's file."""
        file = BytesIO()
        np.savez_compressed(file, **{name: getattr(self, name) for name in ARRAY_KINDS})  # pyright: ignore[reportArgumentType]
        return file.getvalue()


def read_index(content: bytes, split: ShardedSplit, where: str) -> ShardIndex:
    """Read an index and hold it against what the manifest says of its split; `where` is what errors call it.

    Raises:
        UsageError: if it is damaged, or if images lie outside of the shards or classes.
    """
    try:
        arrays = _unpacked(content)
    except Exception as error:  # whatever a damaged archive leads to
        raise UsageError(f"{where} is no index of shards; build the shards again") from error
    if any(values.shape != (split.images,) for values in arrays.values()):
        raise UsageError(f"{where} does not hold the places of {split.images} images; build the shards again")
    index = ShardIndex(**{name: values if name == "names" else values.astype(np.int64) for name, values in arrays.items()})
    room = np.array([shard.bytes for shard in split.shards], np.int64)
    if not (_within(index.shards, len(room)) and _within(index.targets, len(split.class_counts))):
        raise UsageError(f"{where} names shards or classes that there are not; build the shards again")
    if (np.minimum(index.offsets, index.sizes) < 0).any() or (index.sizes > room[index.shards] - index.offsets).any():
        raise UsageError(f"{where} says that images lie beyond the end of their shard; build the shards again")
    return index


def _unpacked(content: bytes) -> dict[str, np.ndarray]:
    """Return the arrays of an index, whose sizes are looked at before they are unpacked."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        members = {name: archive.getinfo(f"{name}.npy") for name in ARRAY_KINDS}
        if sum(member.file_size for member in members.values()) > MOST_TIMES * len(content) + ALWAYS:
            raise ValueError("it unpacks to far more than itself")
        return {name: _array(BytesIO(archive.read(member)), ARRAY_KINDS[name]) for name, member in members.items()}


def _array(file: BytesIO, kind: str) -> np.ndarray:
    """Read an array of one axis, which takes no more room than is there, whatever it promises."""
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("an array is of another form")
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype.kind != kind:
        raise ValueError("an array is of another type")
    return np.frombuffer(file.read(), dtype).reshape(shape)


def _within(values: np.ndarray, high: int) -> bool:
    return bool(((values >= 0) & (values < high)).all())
