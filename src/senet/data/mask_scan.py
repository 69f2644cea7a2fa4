"""One look at all masks of a set: their sizes beside those of their images, and which labels they hold; kept for the next time."""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TypeVar
from zlib import crc32

import numpy as np
from rich.progress import Progress

from senet.data.fingerprint import evenly_spread
from senet.data.image_file import TRANSPOSING, ImageReading, open_image, open_regular, orientation
from senet.data.kept import Arrays, kept_arrays
from senet.data.masks import COLOUR, MaskReading, as_colour, distinct, read_raw_mask
from senet.data.source import UnreadableImageError
from senet.errors import UsageError
from senet.terminal import Terminal
from senet.text import printable

IGNORED = -1
"""Label of pixels that a label map says to ignore."""

SEVERAL = -2
"""Stands where a mask holds more than one label."""

MOST_LABELS = 1024
"""Labels that masks of one set may hold, whatever becomes of them."""

THREADS = 8
Answer = TypeVar("Answer")


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


def scan_masks(root: Path, paths: np.ndarray, masks: np.ndarray, reading: ImageReading, mask_reading: MaskReading) -> MaskScan:
    """Look at all masks, unless that was done before and neither names, sizes nor times of their files have changed.

    Args:
        root: the folder that the paths are below.
        paths: (N,) bytes, the images.
        masks: (N,) bytes, their masks.
        reading: how images are read.
        mask_reading: how masks are read; its `classes` are not asked for.

    Raises:
        UsageError: for masks of another size than their image, and for more than `MOST_LABELS` labels.
    """
    digest = hashlib.sha256()
    for part in (paths, masks):
        digest.update(repr((str(root.resolve()), part.tolist(), _times(root, part))).encode())
    digest.update(repr((reading.max_pixels, mask_reading, sorted((mask_reading.label_map or {}).items(), key=str))).encode())

    def look() -> Arrays:
        sizes, mask_sizes = (_sizes(root, part, reading.max_pixels) for part in (paths, masks))
        _check_sizes(root, masks, sizes, mask_sizes)
        return {**_labels(root, masks, mask_reading), "sizes": sizes, "mask_sizes": mask_sizes}

    return MaskScan(**kept_arrays(f"masks-{digest.hexdigest()[:32]}", LIKE, look))


def _times(root: Path, paths: np.ndarray) -> list[tuple[int, int]]:
    """Return size in bytes and time of change of up to ten thousand files."""
    found = []
    for index in evenly_spread(len(paths)):
        try:
            facts = os.stat(root / os.fsdecode(paths[index]))  # noqa: PTH116 - os.stat of thousands
            found.append((facts.st_size, facts.st_mtime_ns))
        except OSError:
            found.append((-1, -1))
    return found


def _sizes(root: Path, paths: np.ndarray, max_pixels: int) -> np.ndarray:
    names = [os.fsdecode(path) for path in paths.tolist()]
    return np.array(list(_each("sizes", lambda name: _size(root / name, max_pixels), names)), np.int64).reshape(-1, 2)


def _size(path: Path, max_pixels: int) -> tuple[int, int]:
    """Return width and height of an image as it is upright, by its header; zeros if it cannot be read."""
    try:
        with open_regular(path) as file, open_image(file, max_pixels) as image:
            said = image.format != "PNG" or "exif" in image.info  # else Pillow decodes the pixels to look behind them
            return (image.height, image.width) if said and orientation(image) in TRANSPOSING else image.size
    except Exception:  # what a damaged file raises depends on its format; it is counted where it is read
        return 0, 0


def _check_sizes(root: Path, masks: np.ndarray, sizes: np.ndarray, mask_sizes: np.ndarray) -> None:
    known = sizes.any(axis=1) & mask_sizes.any(axis=1)
    wrong = np.flatnonzero(known & (sizes != mask_sizes).any(axis=1))
    if len(wrong):
        (width, height), (other, high) = sizes[wrong[0]], mask_sizes[wrong[0]]
        raise UsageError(
            f"{root}: {len(wrong)} of {len(masks)} masks have another size than their image, such as "
            f"{printable(os.fsdecode(bytes(masks[wrong[0]])))}: {other} x {high}, and its image {width} x {height}"
        )


def _labels(root: Path, masks: np.ndarray, reading: MaskReading) -> Arrays:
    """Read all masks: the arrays of a `MaskScan` but the sizes."""
    together: dict[int, Counter[int]] = defaultdict(Counter)
    images: Counter[int] = Counter()
    first: dict[int, int] = {}
    single, checksums, unreadable = [], [], []
    names = [os.fsdecode(path) for path in masks.tolist()]
    for index, found in enumerate(_each("labels of masks", lambda name: _counts(root / name, reading), names)):
        if found is None:
            unreadable.append(index)
            single.append(SEVERAL)
            checksums.append(0)
            continue
        counts, checksum = found
        for label in counts:
            together[label].update(counts)
            images[label] += 1
            first.setdefault(label, index)
        single.append(next(iter(counts)) if len(counts) == 1 else SEVERAL)
        checksums.append(checksum)
        if len(together) > MOST_LABELS:
            raise UsageError(_too_many(f"{root}: the masks up to {printable(names[index])}", reading, sorted(together)))
    labels = sorted(together)
    return {
        "labels": np.array(labels, np.int64),
        "images": np.array([images[label] for label in labels], np.int64),
        "first": np.array([first[label] for label in labels], np.int64),
        "together": np.array([[together[one][other] for other in labels] for one in labels], np.int64).reshape(len(labels), -1),
        "single": np.array(single, np.int64),
        "checksums": np.array(checksums, np.uint32),
        "unreadable": np.array(unreadable, np.int64),
    }


def _counts(path: Path, reading: MaskReading) -> tuple[dict[int, int], int] | None:
    """Return the labels of a mask with their pixels, and a checksum of it; None if it cannot be read."""
    try:
        labels = read_raw_mask(path, reading)
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


def _each(what: str, ask: Callable[[str], Answer], names: Sequence[str]) -> Iterator[Answer]:
    """Yield the answer for each name, in order, of some threads (Pillow decodes outside of Python's lock); a terminal sees a bar."""
    terminal = Terminal(stderr=True)
    threads = ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1))
    try:
        with Progress(console=terminal, transient=True, disable=not terminal.is_terminal) as bar:
            yield from bar.track(threads.map(ask, names), total=len(names), description=what)
    finally:
        threads.shutdown(cancel_futures=True)  # else Ctrl-C waits for all
