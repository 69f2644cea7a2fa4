"""Time reading photographs from shards, from class folders and by other readers: `python -m benchmarks.shards --root DIR`."""

import argparse
import gc
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.run import COMMITTED, RESULTS, result_path
from senet.atomic import write_text
from senet.data.folder import ImageFiles
from senet.data.shards.build import build_shards
from senet.data.shards.source import ShardImages
from senet.data.source import open_data
from senet.measuring.machine import bench_environment
from senet.recipe import DataRecipe

Read = Callable[[int], Any]

BASE = "ImageFolder"

CLOCKS = ("cpu", "wall")

SHARD_BYTES = 4_000_000

BLOCK = 10
"""Images that one reader reads before the next one's turn."""


class Reader(NamedTuple):
    """Reader of images by their index: of their files' bytes alone, and of their pixels."""

    read: Read
    decoded: Read


def image_folder(root: Path, folder: Path) -> Reader:
    """Return torchvision's reader of class folders."""
    from torchvision.datasets import ImageFolder

    images = ImageFolder(copied(root, folder) / "train")
    return Reader(lambda index: Path(images.samples[index][0]).read_bytes(), lambda index: images[index][0])


def class_folders(root: Path, folder: Path) -> Reader:
    """Return this package's reader of class folders."""
    images = files_of(copied(root, folder))
    return Reader(lambda index: images.path(index).read_bytes(), images.read)


def shards(root: Path, folder: Path) -> Reader:
    """Return this package's reader of shards, which are built first."""
    build_shards(open_data(DataRecipe(name="folder", root=str(root))), folder, shard_bytes=SHARD_BYTES)
    images = open_data(DataRecipe(name="shards", root=str(folder))).train
    assert isinstance(images, ShardImages)
    return Reader(images.content, images.read)


def litdata(root: Path, folder: Path) -> Reader:
    """Return the reader by index of the package litdata, if it is installed; its chunks are written first."""
    package, images = import_module("litdata"), files_of(root)
    package.optimize(file_content, [str(images.path(index)) for index in range(len(images))], str(folder), chunk_bytes=SHARD_BYTES)
    chunks = package.StreamingDataset(str(folder))

    def read(index: int) -> bytes:
        return chunks[index]["image"]

    return Reader(read, lambda index: Image.open(BytesIO(read(index))).convert("RGB"))


def file_content(path: str) -> dict[str, bytes]:
    return {"image": Path(path).read_bytes()}


def copied(root: Path, folder: Path) -> Path:
    """Return a copy of class folders: no reader meets with files that another one has read."""
    return Path(shutil.copytree(root, folder, symlinks=True))


def files_of(root: Path) -> ImageFiles:
    images = open_data(DataRecipe(name="folder", root=str(root))).train
    assert isinstance(images, ImageFiles)
    return images


READERS = {BASE: image_folder, "folder": class_folders, "shards": shards, "litdata": litdata}


def drop_contents(folder: Path) -> None:
    """Ask the system to forget the contents of all files below a folder; it goes on to know the files' places."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def timed(readers: Mapping[str, Read], order: list[int]) -> dict[str, dict[str, float]]:
    """Return, for each reader, the seconds of CPU and of the clock that an image takes; readers take turns, block by block."""
    gc.collect()
    totals = {name: np.zeros(2) for name in readers}
    for number, first in enumerate(range(0, len(order), BLOCK)):
        for name in list(readers)[:: 1 if number % 2 else -1]:
            read, before = readers[name], (time.process_time(), time.perf_counter())
            for index in order[first : first + BLOCK]:
                read(index)
            totals[name] += np.subtract((time.process_time(), time.perf_counter()), before) / len(order)
    return {name: dict(zip(CLOCKS, total.tolist(), strict=True)) for name, total in totals.items()}


def measured(readers: Mapping[str, Reader], folder: Path, count: int, images: int, rounds: int) -> dict[str, Any]:
    """Time all readers on the same images in the same random order, another one each round: first from the disk, then from memory."""
    found: dict[str, Any] = {f"{what}, {state}": [] for what in Reader._fields for state in ("cold", "warm")}
    for number in range(rounds + 1):
        order = np.random.default_rng(number).permutation(count)[:images].tolist()
        for case, rows in found.items():
            what, _, state = case.partition(", ")
            if state == "cold":
                drop_contents(folder)
            row = timed({name: getattr(reader, what) for name, reader in readers.items()}, order)
            rows += [row] if number else []  # the first round warms up
    return found


def ratios(rows: list[dict[str, dict[str, float]]], clock: str) -> dict[str, float]:
    """Return how many times the images a second of the base each reader gives: the median over rounds."""
    return {name: median(row[BASE][clock] / row[name][clock] for row in rows) for name in rows[0]}


def main(argv: list[str] | None = None) -> int:
    """Time and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shards", description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="class folders, such as `python -m benchmarks.photographs` writes")
    parser.add_argument("--readers", default=f"{BASE},folder,shards", help=f"of {', '.join(READERS)}; the first is the base")
    parser.add_argument("--images", type=int, default=250, help="that are read in a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--scratch", type=Path, help="folder on the disk that is read; default: that of temporary files")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the JSON file")
    args = parser.parse_args(argv)
    names = list(dict.fromkeys([BASE, *args.readers.split(",")]))
    facts = bench_environment(packages=("torchvision", "pillow", "litdata"), sources=COMMITTED)
    count = len(files_of(args.root))
    with tempfile.TemporaryDirectory(dir=args.scratch) as scratch:
        readers = {name: READERS[name](args.root, Path(scratch) / name) for name in names}
        found = measured(readers, Path(scratch), count, min(args.images, count), args.rounds)
    about = "seconds an image, read alone or read and decoded, in one process, in random order; cold: no content of a file is in memory"
    tree = {"benchmark": "shards", **facts, "about": about, "base": BASE, "images": count, "shard_bytes": SHARD_BYTES, "times": found}
    tree["ratios"] = {case: {clock: ratios(rows, clock) for clock in CLOCKS} for case, rows in found.items()}
    write_text(result_path(args.out, "shards", facts), json.dumps(tree, indent=2) + "\n")
    table = Table("images a second", *(f"{name} / {BASE}" for name in names[1:]), box=None)
    for case, by_clock in tree["ratios"].items():
        table.add_row(case, *(f"{by_clock['wall'][name]:.2f} (CPU {by_clock['cpu'][name]:.2f})" for name in names[1:]))
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
