"""Folder of a comparison's pictures: each file is written whole, under a name that its content decides."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from senet.atomic import replacing
from senet.data.preview import reduced, webp_of
from senet.results.cases import PictureFile, digest_of

SIDE = 384
"""Pixels of the longest side that pictures have at most."""


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
        content = webp_of(shown)
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
