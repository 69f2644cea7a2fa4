"""Time reading photographs from shards, from class folders and by other readers: `python -m benchmarks.shards --root DIR`."""

import argparse
import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.run import COMMITTED, RESULTS, result_path
from senet.atomic import write_text
from senet.data.folder import ImageFiles
from senet.data.shards.build import build_shards
from senet.data.source import open_data
from senet.measuring.machine import bench_environment
from senet.recipe import DataRecipe

Read = Callable[[int], Any]

BASE = "ImageFolder"

SHARD_BYTES = 4_000_000


def image_folder(root: Path, folder: Path) -> Read:
    """Return torchvision's reader of class folders."""
    from torchvision.datasets import ImageFolder

    images = ImageFolder(root / "train")
    return lambda index: images[index][0]


def class_folders(root: Path, folder: Path) -> Read:
    """Return this package's reader of class folders."""
    return open_data(DataRecipe(name="folder", root=str(root))).train.read


def shards(root: Path, folder: Path) -> Read:
    """Return this package's reader of shards, which are built first."""
    build_shards(open_data(DataRecipe(name="folder", root=str(root))), folder, shard_bytes=SHARD_BYTES)
    return open_data(DataRecipe(name="shards", root=str(folder))).train.read


def litdata(root: Path, folder: Path) -> Read:
    """Return the reader by index of the package litdata, if it is installed; its chunks are written first."""
    package, images = import_module("litdata"), open_data(DataRecipe(name="folder", root=str(root))).train
    assert isinstance(images, ImageFiles)
    paths = [str(images.path(index)) for index in range(len(images))]
    package.optimize(file_content, paths, str(folder), chunk_bytes=SHARD_BYTES, num_workers=1)
    chunks = package.StreamingDataset(str(folder))
    from io import BytesIO

    return lambda index: Image.open(BytesIO(chunks[index]["image"])).convert("RGB")


def file_content(path: str) -> dict[str, bytes]:
    return {"image": Path(path).read_bytes()}


READERS = {BASE: image_folder, "folder": class_folders, "shards": shards, "litdata": litdata}


def drop_contents(folders: Iterable[Path]) -> None:
    """Ask the system to forget the contents of all files in and below some folders; it goes on to know the files' places."""
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file():
                with path.open("rb") as file:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def timed(read: Read, order: list[int]) -> dict[str, float]:
    """Return the seconds of CPU and of the clock that an image takes to be read and decoded."""
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    for index in order:
        read(index)
    return {"cpu": (time.process_time() - cpu) / len(order), "wall": (time.perf_counter() - wall) / len(order)}


def measured(readers: dict[str, Read], folders: list[Path], count: int, images: int, rounds: int) -> dict[str, Any]:
    """Time all readers in turn on the same images in the same random order, warm and cold, in rounds A B C C B A."""
    found: dict[str, Any] = {state: {name: [] for name in readers} for state in ("warm", "cold")}
    for number in range(rounds + 1):
        order = np.random.default_rng(number).permutation(count)[:images].tolist()
        for state, times in found.items():
            for name in list(readers)[:: 1 if number % 2 else -1]:
                if state == "cold":
                    drop_contents(folders)
                else:
                    timed(readers[name], order)
                once = timed(readers[name], order)
                times[name] += [once] if number else []  # the first round warms up
    return found


def ratios(times: dict[str, list[dict[str, float]]], clock: str) -> dict[str, float]:
    """Return how many times the images a second of the base each reader gives: the median over rounds."""
    return {name: median(base[clock] / own[clock] for base, own in zip(times[BASE], rows, strict=True)) for name, rows in times.items()}


def main(argv: list[str] | None = None) -> int:
    """Time and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shards", description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="class folders, such as `python -m benchmarks.photographs` writes")
    parser.add_argument("--readers", default=f"{BASE},folder,shards", help=f"of {', '.join(READERS)}; the first is the base")
    parser.add_argument("--images", type=int, default=250, help="that are read in a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the JSON file")
    args = parser.parse_args(argv)
    names = list(dict.fromkeys([BASE, *args.readers.split(",")]))
    facts = bench_environment(packages=("torchvision", "pillow", "litdata"), sources=COMMITTED)
    count = len(open_data(DataRecipe(name="folder", root=str(args.root))).train)
    with tempfile.TemporaryDirectory() as scratch:
        readers = {name: READERS[name](args.root, Path(scratch) / name) for name in names}
        found = measured(readers, [args.root, Path(scratch)], count, min(args.images, count), args.rounds)
    about = "seconds an image, read and decoded in one process, in random order; cold: no content of a file is in memory"
    tree = {"benchmark": "shards", **facts, "about": about, "base": BASE, "images": count, "shard_bytes": SHARD_BYTES, "times": found}
    tree["ratios"] = {state: {clock: ratios(times, clock) for clock in ("cpu", "wall")} for state, times in found.items()}
    write_text(result_path(args.out, "shards", facts), json.dumps(tree, indent=2) + "\n")
    table = Table("reader", "warm, CPU", "warm, clock", "cold, CPU", "cold, clock", box=None, title=f"images a second, times {BASE}")
    for name in names:
        table.add_row(name, *(f"{tree['ratios'][state][clock][name]:.2f}" for state in found for clock in ("cpu", "wall")))
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
