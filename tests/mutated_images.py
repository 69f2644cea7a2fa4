"""Damaged image files of every format that is read; run as a program, it reads many of them in a bounded memory."""

import random
import resource
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from senet.data.image_file import ImageReading, read_image
from senet.data.source import UnreadableImageError

GIGABYTE = 2**30


def samples() -> dict[str, bytes]:
    """Return a small valid file of every format, and of every mode whose values are scaled."""
    grey = np.random.default_rng(0).integers(0, 256, (18, 24), np.uint8)
    image = Image.fromarray(np.stack([grey, 255 - grey, grey], -1))
    exif = Image.Exif()
    exif[274] = 6
    forms: dict[str, tuple[Image.Image, str, dict]] = {
        "x.jpg": (image, "JPEG", {"exif": exif}),
        "progressive.jpg": (image, "JPEG", {"progressive": True}),
        "two.mpo": (image, "MPO", {"save_all": True, "append_images": [image]}),
        "palette.png": (image.convert("P"), "PNG", {"transparency": 3}),
        "moving.png": (image, "PNG", {"save_all": True, "append_images": [image]}),
        "deep.png": (Image.fromarray(grey.astype(np.uint16) * 257), "PNG", {"exif": exif}),
        "float.tif": (Image.fromarray(grey.astype(np.float32) / 255), "TIFF", {}),
        "deep.tif": (Image.fromarray(grey.astype(np.int32)), "TIFF", {"tiffinfo": {340: 0, 341: 255}}),
        "packed.tif": (image, "TIFF", {"compression": "tiff_lzw", "exif": exif}),
        "photograph.tif": (image, "TIFF", {"compression": "jpeg"}),
        "float.pfm": (Image.fromarray(grey.astype(np.float32) / 255), "PPM", {}),
        "deep.pgm": (Image.fromarray(grey.astype(np.uint16)), "PPM", {}),
        "moving.gif": (image, "GIF", {"save_all": True, "append_images": [image]}),
        "moving.webp": (image, "WEBP", {"save_all": True, "append_images": [image], "exif": exif}),
        **{f"x.{kind.lower()}": (image, kind, {}) for kind in ("WEBP", "AVIF", "JPEG2000", "BMP", "DIB", "PCX", "PPM", "QOI", "SGI")},
    }
    files = {}
    for name, (content, kind, options) in forms.items():
        buffer = BytesIO()
        content.save(buffer, kind, **options)
        files[name] = buffer.getvalue()
    header = struct.pack(">8I", 0x59A66A95, 24, 18, 24, 24 * 18 * 3, 1, 0, 0)
    return files | {"x.ras": header + image.tobytes()}


def flip(data: bytearray, draw: random.Random) -> None:
    for _ in range(draw.choice((1, 1, 2, 8))):
        data[draw.randrange(len(data))] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))


def flip_head(data: bytearray, draw: random.Random) -> None:
    for _ in range(draw.choice((1, 2, 4))):
        data[draw.randrange(min(64, len(data)))] = draw.randrange(256)


def cut(data: bytearray, draw: random.Random) -> None:
    del data[draw.randrange(len(data)) :]


def remove(data: bytearray, draw: random.Random) -> None:
    start = draw.randrange(len(data))
    del data[start : start + draw.choice((1, 4, 50))]


def repeat(data: bytearray, draw: random.Random) -> None:
    start = draw.randrange(len(data))
    data[start:start] = data[start : start + draw.choice((1, 4, 50))] * draw.choice((1, 3))


def enlarge(data: bytearray, draw: random.Random) -> None:
    start = draw.randrange(len(data))
    data[start : start + 4] = struct.pack(draw.choice(("<I", ">I")), draw.choice((0, 1, 65535, 2**16, 2**31 - 1, 2**32 - 1)))


MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (flip, flip, flip_head, cut, remove, repeat, enlarge, enlarge)


def mutated(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield `count` damaged files, each with the name of what it was, in turn."""
    draw, files = random.Random(seed), samples()
    for index in range(count):
        name = list(files)[index % len(files)]
        data = bytearray(files[name])
        for _ in range(draw.choice((1, 1, 2, 3))):
            if data:
                draw.choice(MUTATIONS)(data, draw)
        yield name, bytes(data)


def read_all(count: int, seed: int, folder: Path) -> tuple[Counter[str], float]:
    """Read damaged files; return how many could be read and how many not, and the seconds of the processor that the slowest took.

    Raises:
        Exception: whatever else than UnreadableImageError a file raises.
    """
    found: Counter[str] = Counter()
    slowest = 0.0
    for index, (name, data) in enumerate(mutated(count, seed)):
        path = folder / name
        path.write_bytes(data)
        start = time.process_time()
        try:
            image = read_image(path, ImageReading(None if index % 2 else (0, 200)))
            assert image.mode == "RGB"
            found["read"] += 1
        except UnreadableImageError as error:
            message = str(error)
            found["unreadable" if message.startswith(f"{path}: ") and message.isprintable() else f"said {message!r}"] += 1
        except BaseException:
            print(f"seed {seed}, file {index}, {name}", file=sys.stderr)
            raise
        slowest = max(slowest, time.process_time() - start)
    return found, slowest


if __name__ == "__main__":
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + GIGABYTE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    with TemporaryDirectory() as scratch:
        counts, seconds = read_all(int(sys.argv[1]), int(sys.argv[2]), Path(scratch))
    print(counts["read"], counts["unreadable"], seconds)
