"""Writing a set of shards: several at a time, each whole or not at all, so that a build that was interrupted goes on where it was."""

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event

import numpy as np
from filelock import FileLock, Timeout

from senet.atomic import replacing, temporaries, write_text
from senet.data.image_file import open_regular
from senet.data.shards.forms import TARGET_FORMS, TARGET_PLACES, task_of
from senet.data.shards.index import ShardIndex
from senet.data.shards.manifest import MANIFEST, SHARDED_SPLITS, STORED_FILE, Manifest, ShardedSplit, StoredFile, read_manifest
from senet.data.shards.plan import SplitPlan, plan_split
from senet.data.shards.tar import TarredImage, WrittenShard, write_shard
from senet.data.source import DataSource
from senet.data.workers import reading_threads
from senet.errors import UsageError
from senet.jsontext import json_text
from senet.locks import take_sole_lock
from senet.schema import integer, items, read_json, record
from senet.text import printable

PARTS_FOLDER = "parts"
"""Folder of what is known of the shards that are written, while others are not yet."""

LOCK_FILE = ".lock"

PLACES = items(items(integer(0, 2**50), low=4, high=4), high=10**9)

PART = record({"file": record(STORED_FILE, needed=tuple(STORED_FILE)), "places": PLACES}, needed=("file", "places"))
"""The rule for what is known of a shard that is written."""


@dataclass(frozen=True)
class Build:
    """Outcome of a build.

    Args:
        manifest: of the shards.
        written: how many shards were written; the others were there.
        empty: images whose files could not be read; they lie in the shards without content and count as unreadable.
    """

    manifest: Manifest
    written: int
    empty: tuple[str, ...]


WatchShards = Callable[[int, int], object]
"""Told after each shard: how many there are, and of how many."""


def build_shards(
    source: DataSource,
    folder: Path,
    *,
    said: Mapping[str, str] | None = None,
    shard_bytes: int = 128_000_000,
    workers: int | None = None,
    watch: WatchShards = lambda done, of: None,
) -> Build:
    """Write the images of a source as shards.

    Args:
        source: images in files, with classes, masks or boxes.
        folder: where the shards go; those of the same images that are there stay.
        said: what a recipe said of masks or boxes, see `senet.data.shards.source.said_of`.
        shard_bytes: about how large a shard is.
        workers: how many shards are written at a time; None = one for each processor, at most 8.
        watch: told how far it is.

    Raises:
        UsageError: if shards have no form for the images, the folder holds something else, another process writes there, or there is no
            room on the disk.
    """
    task = task_of(source.train)
    if task is None:
        raise UsageError(f"shards are built of image files with classes, masks or boxes, and {source.name} has others")
    plans = [plan_split(split, getattr(source, split), TARGET_FORMS[task], shard_bytes, mixed=split == "train") for split in SHARDED_SPLITS]
    plan = hashlib.sha256("\n".join([*source.classes, *(split.digest for split in plans)]).encode()).hexdigest()
    lock = FileLock(folder / LOCK_FILE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        take_sole_lock(lock, 0, "writes shards")
    except Timeout:
        raise UsageError(f"another process writes shards to {printable(folder, None)}; wait for it, or name another folder") from None
    except OSError as error:
        raise UsageError(f"cannot write in {printable(folder, None)}: {error.strerror}; name another folder") from error
    try:
        _check_folder(folder, plan)
        if (found := _finished(folder)) is not None:
            return Build(found, 0, ())
        splits, written, empty = _write_splits(folder, plans, plan, len(source.classes), workers or reading_threads(), watch)
        manifest = Manifest(plan, task, source.classes, splits, source.palette, dict(said or {}))
        write_text(folder / MANIFEST, manifest.to_json())
        shutil.rmtree(folder / PARTS_FOLDER)
        return Build(manifest, written, empty)
    finally:
        lock.release()


def _write_splits(
    folder: Path, plans: list[SplitPlan], plan: str, classes: int, workers: int, watch: WatchShards
) -> tuple[dict[str, ShardedSplit], int, tuple[str, ...]]:
    """Write what is not there; return the splits, how many shards were written, and which images could not be read."""
    parts = folder / PARTS_FOLDER
    parts.mkdir(exist_ok=True)
    write_text(parts / "plan", plan)
    jobs = [(split, shard) for split in plans for shard in range(len(split.shards))]
    names = [MANIFEST, *(split.index_name for split in plans), *(split.file_name(shard) for split, shard in jobs)]
    for left in temporaries(folder, names):
        left.unlink()
    found = {(split.name, shard): _part(folder, split, shard) for split, shard in jobs}
    todo = [(split, shard) for split, shard in jobs if found[split.name, shard] is None]
    _check_room(folder, sum(split.bytes_of[shard] for split, shard in todo))
    watch(len(jobs) - len(todo), len(jobs))
    stop, empty = Event(), list[str]()
    with ThreadPoolExecutor(workers) as pool:
        futures = {pool.submit(_write, folder, split, shard, stop, empty): (split.name, shard) for split, shard in todo}
        try:
            for done, future in enumerate(as_completed(futures), len(jobs) - len(todo) + 1):
                found[futures[future]] = future.result()
                watch(done, len(jobs))
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    splits = {}
    for split in plans:
        written = [found[split.name, shard] for shard in range(len(split.shards))]
        splits[split.name] = _joined(folder, split, written, classes)
    return splits, len(todo), tuple(sorted(empty))


def _check_folder(folder: Path, plan: str) -> None:
    """Raise UsageError if a folder holds anything but shards of this plan."""
    name = printable(folder, None)
    if (folder / MANIFEST).exists():
        if read_manifest((folder / MANIFEST).read_bytes(), str(folder / MANIFEST)).plan != plan:
            raise UsageError(f"{name} holds shards of other images, or of another size; name another folder, or remove it")
        return
    begun = folder / PARTS_FOLDER / "plan"
    if begun.is_file() and begun.read_text() != plan:
        raise UsageError(f"{name} holds a part of the shards of other images, or of another size; name another folder, or remove it")
    if not begun.is_file() and (there := sorted(entry.name for entry in folder.iterdir() if entry.name != LOCK_FILE)):
        raise UsageError(f"{name} is not empty (it holds {printable(there[0])}); name a new folder for the shards")


def _finished(folder: Path) -> Manifest | None:
    """Return the manifest of shards that are all there."""
    if not (folder / MANIFEST).exists():
        return None
    shutil.rmtree(folder / PARTS_FOLDER, ignore_errors=True)  # of a build that was killed after its last word
    manifest = read_manifest((folder / MANIFEST).read_bytes(), str(folder / MANIFEST))
    for file in manifest.files:
        if _size(folder / file.file) != file.bytes:
            raise UsageError(f"{folder / file.file} is missing or of another size than {MANIFEST} says; remove {folder} and build it again")
    return manifest


def _part(folder: Path, split: SplitPlan, shard: int) -> WrittenShard | None:
    """Return what is known of a shard that was written before."""
    path = folder / PARTS_FOLDER / f"{split.file_name(shard)}.json"
    try:
        tree = read_json(path.read_bytes(), str(path), PART)
    except (OSError, UsageError):  # missing, or damaged
        return None
    file, count = StoredFile(**tree["file"]), len(split.shards[shard])
    if _size(folder / file.file) != file.bytes or len(tree["places"]) != count:
        return None
    return WrittenShard(file, tuple(map(tuple, tree["places"])))


def _write(folder: Path, split: SplitPlan, shard: int, stop: Event, empty: list[str]) -> WrittenShard:
    name = split.file_name(shard)
    with replacing(folder / name) as temporary:
        written = write_shard(temporary, name, _members(split, shard, stop, empty), split.form.suffix)
    part = {"file": asdict(written.file), "places": written.places}
    write_text(folder / PARTS_FOLDER / f"{name}.json", json_text(part, indent=None))
    return written


def _members(split: SplitPlan, shard: int, stop: Event, empty: list[str]) -> Iterator[TarredImage]:
    images = split.images
    for number in split.shards[shard].tolist():
        if stop.is_set():
            raise InterruptedError("another shard could not be written")
        try:
            with open_regular(images.path(number)) as file:
                content = file.read()
        except OSError:  # such an image counts as unreadable in training, as it does in a folder
            content = b""
        target = split.form.file(images, number)
        if not content or not target:
            empty.append(images.describe(number))
        yield TarredImage(number, bytes(images.paths[number]), content, target)


def _joined(folder: Path, split: SplitPlan, parts: list[WrittenShard | None], classes: int) -> ShardedSplit:
    """Write the index of a split, and return what the manifest says of it."""
    written = [part for part in parts if part is not None]
    order = np.concatenate(split.shards)
    shards, places = np.empty(len(order), np.int64), np.empty((len(order), 4), np.int64)
    shards[order] = np.repeat(np.arange(len(written)), [len(part.places) for part in written])
    places[order] = np.concatenate([part.places for part in written])
    offsets, sizes, *of_targets = places.T
    targets = split.form.arrays(split.images, classes)
    if TARGET_PLACES[0] in split.form.kinds:
        targets |= dict(zip(TARGET_PLACES, of_targets, strict=True))
    content = ShardIndex(shards, offsets, sizes, split.images.paths, targets).to_bytes()
    with replacing(folder / split.index_name) as temporary:
        temporary.write_bytes(content)
    index = StoredFile(split.index_name, len(content), hashlib.sha256(content).hexdigest())
    counts = tuple(split.form.counts(targets, classes).tolist())
    return ShardedSplit(len(order), counts, index, tuple(part.file for part in written))


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UsageError(
            f"the shards take {needed / 1e9:.3g} GB and {printable(folder, None)} has {free / 1e9:.3g} GB free; make room there"
        )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
