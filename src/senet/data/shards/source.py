"""Images in shards with their classes, masks or boxes, read by index wherever the shards lie."""

import hashlib
import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from senet.data.fingerprint import array_parts
from senet.data.image_file import ImageReading, decode_image
from senet.data.samplers import MIXED_SHARDS
from senet.data.shards.ahead import fetched_ahead, first_needed
from senet.data.shards.forms import TARGET_FORMS, TARGET_PLACES
from senet.data.shards.index import ShardIndex, read_index
from senet.data.shards.manifest import MANIFEST, SAID_FIELDS, SHARDED_SPLITS, Manifest, StoredFile, read_manifest
from senet.data.shards.stores import SHARDS_ROOM, ShardFolder, ShardPlace, room_for_shards, store_of
from senet.data.source import DataSource
from senet.errors import UsageError
from senet.file_kind import is_url, user_path
from senet.recipe import DataRecipe
from senet.text import printable

BESIDE_IMAGES = {"classification": "classes", "segmentation": "masks", "detection": "boxes"}
"""Task -> what lies beside the images of its shards."""

SHARDS_AT_ONCE = MIXED_SHARDS + 2
"""Shards that are read at a time where they come one after the other: those that are mixed, the next one, and one for validation."""


class ShardImages:
    """Images of one split.

    Args:
        place: where the shards lie.
        shards: the files.
        index: where in them each image lies, and what is known of its target.
        task: whose targets they are.
        reading: how images are read.
    """

    in_memory = False

    def __init__(self, place: ShardPlace, shards: tuple[StoredFile, ...], index: ShardIndex, task: str, reading: ImageReading) -> None:
        self.place, self.shards, self.index, self.task, self.reading = place, shards, index, task, reading
        self.targets: Any = TARGET_FORMS[task].targets(index.targets, self._target, self.describe, reading)

    @property
    def groups(self) -> np.ndarray:
        """Shard of each image, (N,) int64: those of one are best read one after the other."""
        return self.index.shards

    def __len__(self) -> int:
        return len(self.index.sizes)

    def read(self, index: int) -> Image.Image:
        """Return image `index` as RGB.

        Raises:
            UnreadableImageError: if its file was damaged when the shards were built.
            DataError: if its shard cannot be read: no other image takes its place for that.
        """
        return decode_image(self.content(index), self.describe(index), self.reading)

    def content(self, index: int) -> bytes:
        """Return the file of image `index`, or raise DataError."""
        return self._part(index, self.index.offsets, self.index.sizes)

    def _target(self, index: int) -> bytes:
        """Return the file beside image `index`, or raise DataError."""
        return self._part(index, *(self.index.targets[name] for name in TARGET_PLACES))

    def _part(self, index: int, offsets: np.ndarray, sizes: np.ndarray) -> bytes:
        return self.place.read(self.shards[int(self.index.shards[index])], int(offsets[index]), int(sizes[index]))

    def fetch_ahead(self, shares: Iterable[np.ndarray]) -> AbstractContextManager[Callable[[int], object]]:
        """Return a block in which shards are fetched before they are read, which is told the number of each batch that has arrived.

        Args:
            shares: of each batch of this process that comes, the indices of its images; looked at only where shards are fetched.
        """
        coming = list(shares) if self.place.ahead else []
        if not coming:
            return nullcontext(lambda batch: None)
        shards, needed = first_needed(self.groups, coming)
        return fetched_ahead(lambda shard: self.place.fetch(self.shards[shard]), shards, needed, self.place.ahead)

    def describe(self, index: int) -> str:
        """Return the path in the folder that the shards were made of, as it can be printed."""
        return printable(os.fsdecode(self.index.names[index]), None)

    def fingerprint(self) -> str:
        """Return what tells these images from others, wherever the shards lie: their files' names, targets and checksums."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        digest = hashlib.sha256("\n".join(shard.sha256 for shard in self.shards).encode())
        for values in (*self.index.targets.values(), self.index.names, self.index.sizes):
            digest.update(b"".join(array_parts(values)))
        return digest.hexdigest()


def open_source(recipe: DataRecipe) -> DataSource:
    """Open the shards at the recipe's root: a folder, or an address in an object store.

    Raises:
        UsageError: if there are none, if files are missing or of another size, or if what is kept of an object store's shards has no room.
    """
    if recipe.root is None:
        raise UsageError("shards needs --data.root DIR, a folder that `senet shards build` wrote, or its address: s3://bucket/folder")
    place: ShardPlace = store_of(recipe.root.rstrip("/"), b"") if is_url(recipe.root) else ShardFolder(_folder(recipe.root))
    content = place.content(MANIFEST)
    manifest = read_manifest(content, f"{place.name}/{MANIFEST}")
    check_said(recipe, manifest)
    form = TARGET_FORMS[manifest.task]
    notes: tuple[str, ...] = ()
    places = dict.fromkeys(SHARDED_SPLITS, place)
    if isinstance(place, ShardFolder):
        place.check(manifest.files)
    else:
        places, notes = _stores(recipe, place.name, content, manifest)
    sets = {}
    for name in SHARDED_SPLITS:
        split = manifest.splits[name]
        where = f"{place.name}/{split.index.file}"
        stored = place.content(split.index.file)
        if hashlib.sha256(stored).hexdigest() != split.index.sha256:
            raise UsageError(f"{where} is not what {MANIFEST} says by its SHA-256; copy it again, or build the shards again")
        index = read_index(stored, split, form, where)
        sets[name] = ShardImages(places[name], split.shards, index, manifest.task, ImageReading.of(recipe))
    return DataSource(
        name="shards",
        train=sets["train"],
        val=sets["val"],
        classes=manifest.classes,
        input=form.input(recipe, sets["train"].index.targets),
        notes=tuple(f"{place.name}: {note}" for note in notes),
        palette=manifest.palette,
    )


def said_of(recipe: DataRecipe) -> dict[str, str]:
    """Return what a recipe says of the meaning of masks or boxes, as text."""
    said = {name: getattr(recipe, name) for name in SAID_FIELDS}
    ordered = {name: sorted(value.items(), key=str) if isinstance(value, dict) else value for name, value in said.items()}
    return {name: str(value) for name, value in ordered.items() if value is not None}


def check_said(recipe: DataRecipe, manifest: Manifest) -> None:
    """Raise UsageError if a recipe says another meaning of masks or boxes than that with which shards were built."""
    for name, value in said_of(recipe).items() if manifest.task != "classification" else ():
        if value != manifest.said.get(name) and not (name == "classes" and recipe.classes == manifest.classes):
            was = printable(manifest.said.get(name, "left out"), None)
            raise UsageError(
                f"data.{name} is settled when shards are built, and was {was} then, got {value}; leave it out, or build shards with "
                f"--data.{name}"
            )


def check_task(source: DataSource, task: str) -> None:
    """Raise UsageError if images lie in shards with the targets of another task."""
    found = source.train.task if isinstance(source.train, ShardImages) else task
    if found != task:
        raise UsageError(f"the shards hold {BESIDE_IMAGES[found]}, which {found} learns, and {task} needs {BESIDE_IMAGES[task]}")


def _folder(root: str) -> Path:
    folder = user_path(root)
    if not folder.is_dir():
        raise UsageError(f"data.root {root!r} is not a folder; it must be one that `senet shards build ROOT DIR` wrote")
    if not (folder / MANIFEST).is_file():
        raise UsageError(f"{printable(folder, None)} has no {MANIFEST}; `senet shards build ROOT DIR` writes it at its end")
    return folder


def _stores(recipe: DataRecipe, url: str, content: bytes, manifest: Manifest) -> tuple[dict[str, ShardPlace], tuple[str, ...]]:
    """Return how each split is fetched: shard by shard, unless images come in an order in which shards would be fetched again and again."""
    store, room = store_of(url, content), room_for_shards()
    largest = max(file.bytes for file in manifest.files)
    needed = sum(split.bytes for split in manifest.splits.values())
    fits, by_shard = needed <= room, recipe.sampler == "by_shard"
    least = min(needed, SHARDS_AT_ONCE * largest if by_shard else largest)
    if least > room:
        raise UsageError(
            f"{url}: {least / 1e9:.3g} GB of its shards are needed at a time, and {room / 1e9:.3g} GB are kept; raise {SHARDS_ROOM}, "
            f"or set XDG_CACHE_HOME to a folder of a larger disk"
        )
    store.folder.mkdir(parents=True, exist_ok=True)
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    ahead = MIXED_SHARDS if fits else min(MIXED_SHARDS, room // largest - SHARDS_AT_ONCE) // processes if by_shard else 0
    places: dict[str, ShardPlace] = {"train": replace(store, whole=fits or by_shard, ahead=ahead), "val": store}
    if fits or by_shard:
        return places, ()
    size = f"{needed / 1e9:.3g} GB of shards, and {room / 1e9:.3g} GB are kept ({SHARDS_ROOM})"
    return places, (f"{size}: each training image is fetched by itself; data.sampler by_shard fetches whole shards, which is faster",)
