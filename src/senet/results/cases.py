"""Single images of a comparison: which were chosen, how each variant fares on them, and where their pictures lie. No torch."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from senet.schema import finite, integer, items, record, table, text

CASE_RANKS = ("best", "median", "worst")
"""Names of the images that are chosen, from the best down."""

DIGEST = 12
"""Characters of the digest of a picture's bytes in its file's name, by which a picture of another comparison is told."""


@dataclass(frozen=True)
class PictureFile:
    """Picture in a file.

    Args:
        name: what it shows: "truth".
        file: its path from the folder of result.json, with forward slashes.
        size: (width, height) in pixels.
    """

    name: str
    file: str
    size: tuple[int, int]

    def read(self, folder: Path) -> bytes | None:
        """Return the file's bytes; None if it is not there, or is another picture."""
        try:
            content = (folder / self.file).read_bytes()
        except OSError:
            return None
        return content if Path(self.file).stem.endswith(digest_of(content)) else None


@dataclass(frozen=True)
class VariantCase:
    """Single image as one variant sees it.

    Args:
        label: of the variant.
        score: the primary metric on that image alone.
        pictures: what is predicted, and what is shown of that.
        gates: heat maps of the gates of positions at some of its blocks, in the order of execution; empty without such gates.
    """

    label: str
    score: float
    pictures: tuple[PictureFile, ...]
    gates: tuple[PictureFile, ...] = ()


@dataclass(frozen=True)
class ImageCase:
    """Image that was chosen to be shown.

    Args:
        rank: one of `CASE_RANKS`.
        name: by which a user finds the image.
        score: the primary metric on that image alone, mean over the variants.
        note: what else is to be known of its pictures; mostly nothing.
        size: (width, height) of the image in pixels, from which its pictures may have been reduced.
        pictures: those that all variants share.
        variants: one a variant.
    """

    rank: str
    name: str
    score: float
    note: str
    size: tuple[int, int]
    pictures: tuple[PictureFile, ...]
    variants: tuple[VariantCase, ...]

    @property
    def files(self) -> tuple[PictureFile, ...]:
        """Every picture of it."""
        return (*self.pictures, *(file for variant in self.variants for file in (*variant.pictures, *variant.gates)))


@dataclass(frozen=True)
class Cases:
    """Images of a comparison that were chosen to be shown.

    Args:
        ranked: number of the validation images that were ranked: those that could be read and have a score for every variant.
        legend: what a colour in the pictures means -> (red, green, blue).
        images: from the best down.
    """

    ranked: int
    legend: Mapping[str, tuple[int, int, int]]
    images: tuple[ImageCase, ...]

    @property
    def files(self) -> tuple[PictureFile, ...]:
        """Every picture."""
        return tuple(file for image in self.images for file in image.files)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> "Cases":
        """Build cases from what `to_dict` returned and `CASES` holds for."""
        legend = {name: (red, green, blue) for name, (red, green, blue) in tree["legend"].items()}
        return cls(tree["ranked"], legend, tuple(map(_read_image, tree["images"])))


def digest_of(content: bytes) -> str:
    """Return what a picture's file name ends with."""
    return hashlib.sha256(content).hexdigest()[:DIGEST]


def _read_image(tree: Mapping[str, Any]) -> ImageCase:
    variants = tuple(
        VariantCase(entry["label"], entry["score"], _read_files(entry["pictures"]), _read_files(entry.get("gates", ())))
        for entry in tree["variants"]
    )
    return ImageCase(**{**tree, "size": tuple(tree["size"]), "pictures": _read_files(tree["pictures"]), "variants": variants})


def _read_files(entries: Iterable[Mapping[str, Any]]) -> tuple[PictureFile, ...]:
    return tuple(PictureFile(**{**entry, "size": tuple(entry["size"])}) for entry in entries)


def _whole(**rules: Any) -> Any:
    return record(rules, needed=tuple(rules))


_NAME, _SIDES = text(1000), items(integer(1, 10**6), 2, 2)
_FILES = items(_whole(name=_NAME, file=text(300, low=1, pattern=r"\w[\w.-]*/\w[\w.-]*", what="a file in a folder"), size=_SIDES))
_VARIANT_CASE = record({"label": _NAME, "score": finite(), "pictures": _FILES, "gates": _FILES}, needed=("label", "score", "pictures"))
_IMAGE_CASE = _whole(
    rank=text(100), name=text(10_000), score=finite(), note=_NAME, size=_SIDES, pictures=_FILES, variants=items(_VARIANT_CASE, 1, 10**4)
)
LEGEND = table(_NAME, items(integer(0, 255), 3, 3))
"""The rule for a legend: what a colour means -> the colour."""
CASES = _whole(ranked=integer(1, 2**63), legend=LEGEND, images=items(_IMAGE_CASE, 1, len(CASE_RANKS)))
"""The rule for cases as plain data."""
