"""Folder of a comparison's pictures: each file is written whole, under a name that its content decides."""

import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from senet.atomic import replacing
from senet.data.preview import reduced
from senet.results.cases import PictureFile, digest_of

SIDE = 384
"""Pixels of the longest side that pictures have at most."""

LOSSLESS_BYTES = 40_000
"""Bytes up to which a picture is kept without loss, as maps of few colours are."""

QUALITY = 90
"""Quality of the others, in WebP's measure."""


@dataclass(frozen=True)
class PictureFolder:
    """Folder that holds a comparison's pictures and nothing else.

    Args:
        path: the folder; it is made when the first picture is written.
    """

    path: Path

    def write(self, picture: Image.Image, stem: str, name: str) -> PictureFile:
        """Write a picture, reduced to `SIDE`, and return where it lies.

        Args:
            picture: in RGB, or what can be shown so.
            stem: how its file's name begins; letters, digits, dots and dashes.
            name: what it shows.

        Raises:
            DiskFullError: if there is no room.
        """
        shown = reduced(picture.convert("RGB"), SIDE)
        content = _encoded(shown)
        file = self.path / f"{stem}-{digest_of(content)}.webp"
        if not file.is_file() or file.read_bytes() != content:
            with replacing(file) as temporary:
                temporary.write_bytes(content)
        return PictureFile(name, f"{self.path.name}/{file.name}", shown.size)

    def keep(self, files: Iterable[PictureFile]) -> None:
        """Remove the pictures of earlier comparisons, and the folder if none is left: all but these."""
        kept = {file.file.rpartition("/")[2] for file in files}
        if not self.path.is_dir():
            return
        for file in self.path.glob("*.webp"):
            if file.name not in kept:
                file.unlink(missing_ok=True)
        if not any(self.path.iterdir()):
            self.path.rmdir()


def part_of_name(text: str) -> str:
    """Return a text as part of a file's name."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")[:40].rstrip("-.") or "picture"


def _encoded(picture: Image.Image) -> bytes:
    """Return a picture as WebP: without loss where that takes little room."""
    exact = io.BytesIO()
    picture.save(exact, "WEBP", lossless=True, method=4)
    if exact.tell() <= LOSSLESS_BYTES:
        return exact.getvalue()
    lossy = io.BytesIO()
    picture.save(lossy, "WEBP", quality=QUALITY, method=4)
    return min(exact.getvalue(), lossy.getvalue(), key=len)
