"""The images that were chosen to be looked at, as the page shows them: pictures in columns, the shared ones first, then one a variant."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from senet.analysis.heat_map import HEAT
from senet.measuring.numbers import TIMES, with_unit
from senet.report.svg import series
from senet.results.cases import Cases, ImageCase, PictureFile
from senet.results.comparison import Result

FEW_PIXELS = 128
"""Pixels of the longest side up to which a picture is enlarged pixel by pixel."""


@dataclass(frozen=True)
class ShownPicture:
    """Picture on the page.

    Args:
        name: what it shows, below it.
        words: what it shows, for those who do not see it.
        data: its address, which holds the file; empty if the file is missing.
        width: in pixels.
        height: in pixels.
    """

    name: str
    words: str
    data: str
    width: int
    height: int

    @property
    def is_small(self) -> bool:
        """Whether its pixels are to be seen as they are."""
        return max(self.width, self.height) <= FEW_PIXELS


@dataclass(frozen=True)
class ShownColumn:
    """Pictures that stand together.

    Args:
        label: of the variant; empty over those that all share.
        colour: of the variant.
        score: of the variant on this image, with its unit.
        pictures: from top to bottom.
    """

    label: str
    colour: str
    score: str
    pictures: tuple[ShownPicture, ...]


@dataclass(frozen=True)
class ShownCase:
    """Image on the page.

    Args:
        heading: its rank.
        score: mean over the variants, with metric and unit.
        facts: what is to be known of it.
        columns: its pictures.
        gates: heat maps of the variants that have gates of positions.
    """

    heading: str
    score: str
    facts: tuple[str, ...]
    columns: tuple[ShownColumn, ...]
    gates: tuple[ShownColumn, ...]


@dataclass(frozen=True)
class ShownCases:
    """All of the section.

    Args:
        title: its heading.
        caption: how the images were chosen, and what can be seen, in sentences.
        legend: what a colour means, and the colour as CSS has it.
        heat: colours of gates from 0 to 1, as CSS has them; empty where no gates are shown.
        missing: what is missing, in a sentence; empty if nothing is.
        images: the images.
    """

    title: str
    caption: str
    legend: tuple[tuple[str, str], ...]
    heat: str
    missing: str
    images: tuple[ShownCase, ...]


def shown_cases(result: Result) -> ShownCases | None:
    """Return the section of single images; None for a result that has none. Their files lie beside result.json."""
    cases = result.cases
    if cases is None:
        return None
    folder = None if result.json is None else result.json.parent
    images = tuple(_image(result, case, cases, folder) for case in cases.images)
    lost = sum(not picture.data for image in images for column in (*image.columns, *image.gates) for picture in column.pictures)
    legend = tuple((name, _css(colour)) for name, colour in cases.legend.items())
    heat = ", ".join(map(_css, HEAT)) if any(image.gates for image in images) else ""
    return ShownCases(_title(cases), _caption(result, cases), legend, heat, _missing(cases, lost), images)


def _title(cases: Cases) -> str:
    ranks = [case.rank for case in cases.images]
    words = ", ".join(ranks[:-1]) + (" and " if len(ranks) > 1 else "") + ranks[-1]
    return f"The {words} image{'s' if len(ranks) > 1 else ''}" if cases.ranked > 1 else "The image that was judged"


def _caption(result: Result, cases: Cases) -> str:
    metric, total = result.primary, result.data.val_images
    others = "" if cases.ranked == total else f"; the other {total - cases.ranked} could not be read or have nothing to judge"
    chosen = f"Chosen by {metric.title}{metric.direction} on the image alone, mean over the variants, among {cases.ranked} of {total}"
    return (
        f"{chosen} validation images{others}. Of equal images the first ranks first, and the median is the better one of two. "
        f"Every variant predicts with the best weights of seed {result.seeds[0]}."
    )


def _missing(cases: Cases, lost: int) -> str:
    if not lost:
        return ""
    folder = cases.files[0].file.partition("/")[0]
    return f"{lost} of {len(cases.files)} pictures are missing: {folder}/ is not beside result.json as the comparison left it."


def _image(result: Result, case: ImageCase, cases: Cases, folder: Path | None) -> ShownCase:
    metric = result.primary
    heading = case.rank.capitalize() if cases.ranked > 1 else "The only one"
    width, height = case.size
    reduced = max(width, height) > max(max(picture.size) for picture in case.pictures)
    size = f"{width} {TIMES} {height} pixels{', shown smaller' if reduced else ''}"
    shared = ShownColumn("", "", "", _pictures(case.pictures, f"{heading} image", folder))
    variants, gates = [], []
    for place, variant in enumerate(case.variants):
        score, colour = with_unit(variant.score, metric.unit, metric.decimals), series(place)
        whose = f"{heading} image, {variant.label}, {metric.title} {score}"
        variants.append(ShownColumn(variant.label, colour, score, _pictures(variant.pictures, whose, folder)))
        if variant.gates:
            maps = _pictures(variant.gates, f"{heading} image, gates of {variant.label}", folder)
            gates.append(ShownColumn(variant.label, colour, "", maps))
    score = f"{metric.title} {with_unit(case.score, metric.unit, metric.decimals)}"
    return ShownCase(heading, score, tuple(filter(None, (case.name, case.note, size))), (shared, *variants), tuple(gates))


def _pictures(files: Sequence[PictureFile], whose: str, folder: Path | None) -> tuple[ShownPicture, ...]:
    return tuple(ShownPicture(file.name, f"{whose}: {file.name}", _data(file, folder), *file.size) for file in files)


def _data(file: PictureFile, folder: Path | None) -> str:
    """Return a picture as an address that holds it; empty if it cannot be read."""
    content = None if folder is None else file.read(folder)
    return "" if content is None else f"data:image/webp;base64,{b64encode(content).decode()}"


def _css(colour: tuple[int, int, int]) -> str:
    return "rgb({} {} {})".format(*colour)
