"""Where each image of a split lies in its shards, and what is known of its target: a file of NumPy arrays."""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO

import numpy as np

from senet.data.kept import Arrays
from senet.data.shards.forms import TARGET_PLACES, TargetForm
from senet.data.shards.manifest import ShardedSplit
from senet.errors import UsageError

ARRAY_KINDS = {"shards": "i", "offsets": "i", "sizes": "i", "names": "S"}
"""Array of any index -> the kind of its type."""

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
        names: (N,) bytes, its path in the folder that the shards were made of.
        targets: what the form of the targets keeps, by names.
    """

    shards: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray
    names: np.ndarray
    targets: Arrays

    def to_bytes(self) -> bytes:
        """Return the content of the index's file."""
        file = BytesIO()
        arrays = {name: getattr(self, name) for name in ARRAY_KINDS} | self.targets
        np.savez_compressed(file, **arrays)  # pyright: ignore[reportArgumentType] - none is called allow_pickle
        return file.getvalue()


def read_index(content: bytes, split: ShardedSplit, form: TargetForm, where: str) -> ShardIndex:
    """Read an index and hold it against what the manifest says of its split.

    Args:
        content: of its file.
        split: what the manifest says.
        form: of the targets.
        where: what errors call it.

    Raises:
        UsageError: if it is damaged, or if images lie outside of the shards or classes.
    """
    kinds = ARRAY_KINDS | dict(form.kinds)
    try:
        arrays = _unpacked(content, kinds)
    except Exception as error:  # whatever a damaged archive leads to
        raise UsageError(f"{where} is no index of shards; build the shards again") from error
    if any(arrays[name].shape != (split.images,) for name in (*ARRAY_KINDS, *TARGET_PLACES) if name in kinds):
        raise UsageError(f"{where} does not hold the places of {split.images} images; build the shards again")
    index = ShardIndex(**{name: arrays[name] for name in ARRAY_KINDS}, targets={name: arrays[name] for name in form.kinds})
    room = np.array([shard.bytes for shard in split.shards], np.int64)
    if not (_within(index.shards, len(room)) and form.is_sound(index.targets, split.images, len(split.class_counts))):
        raise UsageError(f"{where} names shards, classes or targets that there are not; build the shards again")
    for offsets, sizes in [("offsets", "sizes"), TARGET_PLACES][: 1 + (TARGET_PLACES[0] in kinds)]:
        if (np.minimum(arrays[offsets], arrays[sizes]) < 0).any() or (arrays[sizes] > room[index.shards] - arrays[offsets]).any():
            raise UsageError(f"{where} says that images lie beyond the end of their shard; build the shards again")
    return index


def _unpacked(content: bytes, kinds: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Return the arrays of an index, whose sizes are looked at before they are unpacked."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        members = {name: archive.getinfo(f"{name}.npy") for name in kinds}
        if sum(member.file_size for member in members.values()) > MOST_TIMES * len(content) + ALWAYS:
            raise ValueError("it unpacks to far more than itself")
        return {name: _array(BytesIO(archive.read(member)), kinds[name]) for name, member in members.items()}


def _array(file: BytesIO, kind: str) -> np.ndarray:
    """Read an array, which takes no more room than is there, whatever it promises."""
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("an array is of another form")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype.kind != kind:
        raise ValueError("an array is of another type")
    return np.frombuffer(file.read(), dtype).reshape(shape, order="F" if fortran else "C")


def _within(values: np.ndarray, high: int) -> bool:
    return bool(((values >= 0) & (values < high)).all())
