"""One look at all masks of a set: their sizes beside those of their images, and which labels they hold; kept for the next time."""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Protocol, TypeVar
from zlib import crc32

import numpy as np
from rich.progress import Progress

from senet.data.fingerprint import evenly_spread
from senet.data.folder import ImageFiles
from senet.data.image_file import TRANSPOSING, open_image, open_regular, orientation
from senet.data.kept import Arrays, kept_arrays
from senet.data.masks import COLOUR, MaskReading, as_colour, distinct
from senet.data.source import UnreadableImageError
from senet.data.workers import reading_threads
from senet.errors import UsageError
from senet.terminal import Terminal

IGNORED = -1
"""Label of pixels that a label map says to ignore."""

SEVERAL = -2
"""Stands where a mask holds more than one label."""

MOST_LABELS = 1024
"""Labels that masks of one set may hold, whatever becomes of them."""

Answer = TypeVar("Answer")


class RawMasks(Protocol):
    """Masks before their labels become classes, read one at a time, by several threads."""

    def __len__(self) -> int: ...

    def labels(self, index: int) -> np.ndarray:
        """Return the labels of mask `index`, (H, W) of some integer type, or raise UnreadableImageError."""
        ...

    def size(self, index: int) -> tuple[int, int]:
        """Return width and height of mask `index` without reading it; zeros if it cannot be read."""
        ...

    def describe(self, index: int) -> str:
        """Return the name by which a user finds mask `index`."""
        ...

    def state(self) -> str:
        """Return what changes when a file of the masks does, without reading them."""
        ...


@dataclass(frozen=True)
class MaskScan:
    """Contents of the masks of a set, where labels are those after the label map, `IGNORED` among them.

    Args:
        labels: (K,) int64, those that occur.
        images: (K,) int64, how many masks hold each.
        first: (K,) int64, the first mask that does.
        together: (K, K) int64, [a, b] = pixels of label b in the masks that hold label a; the diagonal is the pixels of each.
        single: (N,) int64, the label of a mask that holds but one, else `SEVERAL`.
        sizes: (N, 2) int64, width and height of the images; zeros for one that cannot be read.
        mask_sizes: (N, 2) int64, those of the masks.
        checksums: (N,) uint32 of the masks' pixels; 0 for a mask that cannot be read.
        unreadable: (M,) int64, masks that cannot be read.
    """

    labels: np.ndarray
    images: np.ndarray
    first: np.ndarray
    together: np.ndarray
    single: np.ndarray
    sizes: np.ndarray
    mask_sizes: np.ndarray
    checksums: np.ndarray
    unreadable: np.ndarray

    @property
    def pixels(self) -> np.ndarray:
        """How many pixels have each label: (K,) int64."""
        return self.together.diagonal()

    def renamed(self, names: Mapping[int, int]) -> "MaskScan":
        """Return the same contents with other names of some labels, none of which another label has."""
        labels, single = (np.array([names.get(label, label) for label in part.tolist()], np.int64) for part in (self.labels, self.single))
        return replace(self, labels=labels, single=single)


LIKE = {entry.name: "u" if entry.name == "checksums" else "i" for entry in fields(MaskScan)}


def scan_masks(images: ImageFiles, masks: RawMasks, reading: MaskReading) -> MaskScan:
    """Look at all masks, unless that was done before and neither names, sizes nor times of their files have changed.

    Args:
        images: N images.
        masks: their masks.
        reading: how masks are read; its `classes` are not asked for.

    Raises:
        UsageError: for masks of another size than their image, and for more than `MOST_LABELS` labels.
    """
    label_map = sorted((reading.label_map or {}).items(), key=str)
    parts = (file_states(images.root, images.paths), masks.state(), images.reading.max_pixels, replace(reading, label_map=None), label_map)

    def look() -> Arrays:
        every = range(len(images))
        looks = {"sizes": lambda index: header_size(images.path(index), images.reading.max_pixels), "mask_sizes": masks.size}
        sizes = {
            what: np.array(list(each_answer(f"masks: {what.replace('_', ' ')}", ask, every)), np.int64).reshape(-1, 2)
            for what, ask in looks.items()
        }
        _check_sizes(masks, **sizes)
        return {**_labels(masks, reading), **sizes}

    return MaskScan(**kept_arrays(f"masks-{hashlib.sha256(repr(parts).encode()).hexdigest()[:32]}", LIKE, look))


def file_states(root: Path, paths: np.ndarray) -> str:
    """Return a digest of where files are, what they are called, and size and time of change of up to ten thousand of them."""
    states: list[object] = [str(root.resolve()), paths.tolist()]
    for index in evenly_spread(len(paths)):
        try:
            facts = os.stat(root / os.fsdecode(paths[index]))  # noqa: PTH116 - of thousands
            states.append((facts.st_size, facts.st_mtime_ns))
        except OSError:
            states.append(None)
    return hashlib.sha256(repr(states).encode()).hexdigest()


def header_size(path: Path, max_pixels: int) -> tuple[int, int]:
    """Return width and height of an image file as it is upright, by its header; zeros if it cannot be read."""
    try:
        with open_regular(path) as file, open_image(file, max_pixels) as image:
            said = image.format != "PNG" or "exif" in image.info  # else Pillow decodes the pixels to look behind them
            return (image.height, image.width) if said and orientation(image) in TRANSPOSING else image.size
    except Exception:  # what a damaged file raises depends on its format; it is counted where it is read
        return 0, 0


def _check_sizes(masks: RawMasks, sizes: np.ndarray, mask_sizes: np.ndarray) -> None:
    known = sizes.any(axis=1) & mask_sizes.any(axis=1)
    wrong = np.flatnonzero(known & (sizes != mask_sizes).any(axis=1))
    if len(wrong):
        (width, height), (other, high) = sizes[wrong[0]], mask_sizes[wrong[0]]
        raise UsageError(
            f"{len(wrong)} of {len(masks)} masks have another size than their image, such as {masks.describe(int(wrong[0]))}: "
            f"{other} x {high}, and its image {width} x {height}"
        )


def _labels(masks: RawMasks, reading: MaskReading) -> Arrays:
    """Read all masks: the arrays of a `MaskScan` but the sizes."""
    together: dict[int, Counter[int]] = defaultdict(Counter)
    images: Counter[int] = Counter()
    first: dict[int, int] = {}
    single, checksums, unreadable = [], [], []
    for index, found in enumerate(each_answer("masks: labels", lambda index: _counts(masks, index, reading), range(len(masks)))):
        counts, checksum = found or ({}, 0)
        if found is None:
            unreadable.append(index)
        for label in counts:
            together[label].update(counts)
            images[label] += 1
            first.setdefault(label, index)
        single.append(next(iter(counts)) if len(counts) == 1 else SEVERAL)
        checksums.append(checksum)
        if len(together) > MOST_LABELS:
            raise UsageError(_too_many(f"the masks up to {masks.describe(index)}", reading, sorted(together)))
    labels = sorted(together)
    return {
        "labels": np.array(labels, np.int64),
        "images": np.array([images[label] for label in labels], np.int64),
        "first": np.array([first[label] for label in labels], np.int64),
        "together": np.array([[together[one][other] for other in labels] for one in labels], np.int64).reshape(len(labels), len(labels)),
        "single": np.array(single, np.int64),
        "checksums": np.array(checksums, np.uint32),
        "unreadable": np.array(unreadable, np.int64),
    }


def _counts(masks: RawMasks, index: int, reading: MaskReading) -> tuple[dict[int, int], int] | None:
    """Return the labels of a mask with their pixels, and a checksum of it; None if it cannot be read."""
    try:
        labels = masks.labels(index)
    except UnreadableImageError:
        return None
    found: Counter[int] = Counter()
    for value, count in zip(*(part.tolist() for part in distinct(labels)), strict=True):
        mapped = reading.class_of(value)
        found[IGNORED if mapped is None else mapped] += count
    return dict(found), crc32(labels.tobytes(), crc32(repr(labels.shape).encode()))


def _too_many(what: str, reading: MaskReading, labels: Sequence[int]) -> str:
    if reading.kind == "colour":
        shown = ", ".join(str(as_colour(label - COLOUR)) for label in labels if label >= COLOUR)[:100]
        return f"{what} have {len(labels)} colours, most of which data.palette lacks ({shown}, ...); were they resized smoothly?"
    return f"{what} hold {len(labels)} labels ({labels[0]} to {labels[-1]}); if they number objects, set data.masks to instances"


def each_answer(what: str, ask: Callable[[int], Answer], indices: Sequence[int]) -> Iterator[Answer]:
    """Yield the answer for each index, in order, by threads (Pillow decodes outside of Python's lock), with a bar that says `what`."""
    terminal = Terminal(stderr=True)
    threads = ThreadPoolExecutor(reading_threads())
    try:
        with Progress(console=terminal, transient=True, disable=not terminal.is_terminal) as bar:
            yield from bar.track(threads.map(ask, indices), total=len(indices), description=f"looking at {what}")
    finally:
        threads.shutdown(cancel_futures=True)  # else Ctrl-C waits for all
