"""Image files as RGB: which formats are opened, how large an image may be, and which way is up."""

import os
import stat
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import DEFAULT_BUFFER_SIZE, BufferedReader, BytesIO, FileIO
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from senet.data.depth import eight_bits
from senet.data.source import UnreadableImageError
from senet.errors import reason_of
from senet.recipe import DataRecipe
from senet.text import printable

FORMATS = {
    "AVIF": (".avif", ".avifs"),
    "BMP": (".bmp",),
    "DIB": (".dib",),
    "GIF": (".gif",),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "JPEG2000": (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
    "PCX": (".pcx",),
    "PNG": (".png", ".apng"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
    "QOI": (".qoi",),
    "SGI": (".sgi", ".rgb", ".rgba", ".bw"),
    "SUN": (".ras",),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
}
"""Pillow's name of a format that is read -> suffixes of its files; what a file is says its content. Formats that start another program
(PostScript, PDF), that lead to other files, or that only hold images among other things are left out."""

SUFFIXES = frozenset(suffix for suffixes in FORMATS.values() for suffix in suffixes)

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what puts an image upright (Exif 2.32, tag 274)."""

ORIENTATION = 274

TRANSPOSING = (5, 6, 7, 8)
"""Orientations that exchange width and height."""


@dataclass(frozen=True)
class ImageReading:
    """Manner in which image files are read.

    Args:
        value_range: the values that become black and white in images of more than 8 bits; None = what the file says.
        max_pixels: largest width x height.
    """

    value_range: tuple[float, float] | None = None
    max_pixels: int = DataRecipe.max_pixels

    @classmethod
    def of(cls, recipe: DataRecipe) -> "ImageReading":
        """Return what a recipe says."""
        return cls(recipe.range, recipe.max_pixels)


def read_image(path: str | os.PathLike[str], reading: ImageReading = ImageReading()) -> Image.Image:
    """Read an image file as RGB of 8 bits, upright; of several frames, the first.

    Raises:
        UnreadableImageError: if it is missing, no regular file, damaged, truncated, too large or of another format, or if nothing says
            which of its values are black and white; the message names the file and the reason.
    """
    with unreadable(os.fspath(path)), open_regular(path) as file:
        return _upright(file, reading)


def decode_image(content: bytes, name: str, reading: ImageReading = ImageReading()) -> Image.Image:
    """Return the image that a file's content is, as `read_image` does; `name` is what errors call it.

    Raises:
        UnreadableImageError: as `read_image` does.
    """
    with unreadable(name):
        return _upright(BytesIO(content), reading)


@contextmanager
def unreadable(name: str) -> Iterator[None]:
    """Raise UnreadableImageError, which says what of that name cannot be read and why, for whatever is raised inside."""
    try:
        yield
    except Exception as error:  # what a damaged file raises depends on its format
        reason = getattr(error, "strerror", None) or reason_of(error)  # a system error's text repeats the path
        raise UnreadableImageError(f"{printable(name, None)}: {printable(reason)}") from error


def _upright(file: BinaryIO, reading: ImageReading) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on odd EXIF data and palettes; the pixels are right
        with open_image(file, reading.max_pixels) as image:
            eight = eight_bits(image, reading.value_range)
            turn = TURNS.get(orientation(image))
            rgb = eight if eight.mode == "RGB" else eight.convert("RGB")
            return rgb.copy() if rgb is image and turn is None else rgb if turn is None else rgb.transpose(turn)


class SparingReader(BufferedReader):
    """Reader of a file that asks for no more than there is: Python makes room for all that is asked for, and files may say any size."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Return at most so many bytes, or all that are left."""
        if size is not None and size > DEFAULT_BUFFER_SIZE:
            size = max(0, min(size, os.fstat(self.fileno()).st_size - self.tell()))
        return super().read(size)


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file to read; a pipe, socket or device is refused and never waited for.

    Raises:
        OSError: if it cannot be opened, or is something else.
    """
    file = SparingReader(FileIO(path, opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0))))
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError("is no regular file")
    return file


def is_image_start(start: bytes) -> bool:
    """Return whether the first 16 bytes of a file are those of a format that is read."""
    return any(accept is not None and accept(start.ljust(16, b"\0")) is True for accept in _openers().values())


def _openers() -> dict[str, Callable[[bytes], bool | str] | None]:
    """Return the formats of which this build of Pillow can read files, with what looks at a file's start."""
    Image.init()
    return {name: Image.OPEN[name][1] for name in FORMATS if name in Image.OPEN}


def open_image(file: BinaryIO, max_pixels: int) -> Image.Image:
    """Open an image of a format that is read; its pixels are not decoded yet.

    Raises:
        ValueError: if it is none, or larger.
    """
    try:
        image = Image.open(file, formats=list(_openers()))
    except UnidentifiedImageError:
        raise ValueError(f"is damaged, or no image in a format that is read: {', '.join(_openers())}") from None
    except Image.DecompressionBombError:
        raise ValueError(f"has more pixels than Pillow opens, {2 * (Image.MAX_IMAGE_PIXELS or 0)}") from None
    if image.width * image.height > max_pixels:
        raise ValueError(f"has {image.width} x {image.height} pixels, more than data.max_pixels {max_pixels}")
    return image


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of an image; 1 if it has none that can be read. Of a PNG file the pixels should be loaded before."""
    with suppress(Exception):  # damaged EXIF data raise whatever they like, and the pixels are right
        value = image.getexif().get(ORIENTATION)
        return value if isinstance(value, int) else 1
    return 1
