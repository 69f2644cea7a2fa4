"""Where each image of a split lies in its shards, and what is known of its target: a file of NumPy arrays."""

import zipfile
import zlib
from dataclasses import dataclass
from io import BytesIO

import numpy as np

from senet.data.kept import Arrays
from senet.data.shards.forms import TARGET_PLACES, TargetForm
from senet.data.shards.manifest import ShardedSplit
from senet.errors import UsageError

ARRAY_KINDS = {"shards": "i", "offsets": "i", "sizes": "i", "names": "S"}
"""Array of any index -> the kind of its type."""


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
        with np.load(BytesIO(content), allow_pickle=False) as file:
            arrays = {name: file[name] for name in kinds}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UsageError(f"{where} is no index of shards; build the shards again") from error
    places = [name for name in (*ARRAY_KINDS, *TARGET_PLACES) if name in kinds]
    if any(arrays[name].dtype.kind != kinds[name] for name in kinds) or any(arrays[name].shape != (split.images,) for name in places):
        raise UsageError(f"{where} does not hold the places of {split.images} images; build the shards again")
    index = ShardIndex(**{name: arrays[name] for name in ARRAY_KINDS}, targets={name: arrays[name] for name in form.kinds})
    room = np.array([shard.bytes for shard in split.shards], np.int64)
    if not (_within(index.shards, len(room)) and form.is_sound(index.targets, split.images, len(split.class_counts))):
        raise UsageError(f"{where} names shards, classes or targets that there are not; build the shards again")
    for offsets, sizes in [("offsets", "sizes"), TARGET_PLACES][: 1 + (TARGET_PLACES[0] in kinds)]:
        if (np.minimum(arrays[offsets], arrays[sizes]) < 0).any() or (arrays[sizes] > room[index.shards] - arrays[offsets]).any():
            raise UsageError(f"{where} says that images lie beyond the end of their shard; build the shards again")
    return index


def _within(values: np.ndarray, high: int) -> bool:
    return bool(((values >= 0) & (values < high)).all())
