"""Files of predictions: what a task predicts of an image, and a picture that shows it, named after the image."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from PIL import Image

from senet.atomic import replacing, write_text
from senet.data.given_images import ListedImage
from senet.errors import UsageError
from senet.jsontext import json_text
from senet.tasks.task import Prediction
from senet.text import printable


@dataclass(frozen=True)
class PredictionFiles:
    """Places where predictions are written, each file whole or not at all.

    Args:
        out: folder of what is predicted, in the task's own format, such as PNG for masks; JSON where it has none. None = nowhere.
        overlay: folder of pictures (PNG) that show the prediction on its image; None = nowhere.
        force: whether files that are there may be written over.
        gates: folder of pictures (PNG) of the gates of positions in each block, see `senet.training.gate_sheets`; None = nowhere.
        stems: path of an image -> its files' path below a folder, without suffix; see `planned`. Those of a video's frames lie below it.
    """

    out: str | Path | None = None
    overlay: str | Path | None = None
    force: bool = False
    gates: str | Path | None = None
    stems: Mapping[str, Path] = field(default_factory=dict)
    _written: set[Path] = field(default_factory=set, init=False, repr=False, compare=False)

    @property
    def places(self) -> dict[str, str | Path | None]:
        """What is written -> the folder; None = it is not."""
        return {"out": self.out, "overlay": self.overlay, "gates": self.gates}

    @property
    def folders(self) -> list[Path]:
        """The folders in which files are written."""
        return [Path(folder) for folder in self.places.values() if folder is not None]

    def planned(self, images: Sequence[ListedImage]) -> "PredictionFiles":
        """Return the places with a name for each image's files.

        Raises:
            UsageError: if one is there already and may not be written over, or two folders are the same.
        """
        folders = [folder.resolve() for folder in self.folders]
        if twice := [folder for folder, real in zip(self.folders, folders, strict=True) if folders.count(real) > 1]:
            raise UsageError(f"predictions and pictures cannot both be written to {printable(twice[0], None)}: name two folders")
        names = {str(image.path): image.name for image in images}  # one that is asked for twice has one name
        stems = dict(zip(names, distinct_stems(list(names.values())), strict=True))
        for folder in () if self.force else self.folders:
            self._check_free(folder, stems)
        return replace(self, stems=stems)

    def write(
        self, listed: ListedImage, prediction: Prediction, image: Image.Image | None, sheet: Image.Image | None = None
    ) -> dict[str, str]:
        """Write the files of one prediction; return what each is -> where it is.

        Args:
            listed: the image, one of those that were planned, or a frame of one.
            prediction: what was predicted.
            image: the image in RGB; a picture of the prediction needs it.
            sheet: the picture of its gates, if there is one.

        Raises:
            UsageError: if a file has come to stand there since, or an image that was asked for would be written over.
        """
        written = {}
        if self.out is not None:
            suffix, write = getattr(prediction, "suffix", ".json"), getattr(prediction, "write", None)
            target = self._target(self.out, listed, suffix)
            if write is None:
                write_text(target, json_text(prediction.to_dict()) + "\n")
            else:
                with replacing(target) as temporary:
                    write(temporary)
            written["out"] = str(target)
        if self.overlay is not None and image is not None:
            written["overlay"] = self._write_picture(self.overlay, listed, prediction.draw(image))
        if self.gates is not None and sheet is not None:
            written["gates"] = self._write_picture(self.gates, listed, sheet)
        return written

    def _write_picture(self, folder: str | Path, listed: ListedImage, picture: Image.Image) -> str:
        target = self._target(folder, listed, ".png")
        with replacing(target) as temporary:
            picture.save(temporary, "PNG")
        return str(target)

    def _target(self, folder: str | Path, listed: ListedImage, suffix: str) -> Path:
        stem = self.stems[str(listed.path)]
        stem = stem if listed.moment is None else stem / f"{listed.moment.frame:06}"
        target = Path(folder, stem.parent, f"{stem.name}{suffix}")
        if target not in self._written and target.exists():
            if not self.force:
                raise _exists(target)
            if _identity(target) in self._asked:
                raise UsageError(f"{printable(target, None)} is an image that was asked for, and is not written over; name another folder")
        self._written.add(target)
        return target

    @cached_property
    def _asked(self) -> frozenset[tuple[int, int]]:
        """The files that are asked for, whatever their paths."""
        return frozenset(_identity(Path(image)) for image in self.stems if Path(image).exists())

    def _check_free(self, folder: Path, stems: Mapping[str, Path]) -> None:
        """Raise UsageError for the first file that is there under the name of an image, whatever its suffix."""
        there = {path.parent: () for path in (folder / stem for stem in stems.values())}
        entries = {parent: [entry.name for entry in parent.iterdir()] if parent.is_dir() else [] for parent in there}
        taken = {(parent, name[:end]): name for parent, names in entries.items() for name in names for end in _dots(name)}
        for stem in stems.values():
            if found := taken.get(((folder / stem).parent, stem.name)):
                raise _exists((folder / stem).with_name(found))


def distinct_stems(names: Sequence[Path]) -> list[Path]:
    """Return a path without suffix for each file, no two alike on any file system.

    Files that differ in their suffix alone keep it (a.jpg and a.png), and others are numbered: a file may be asked for in two folders.
    """
    short = [name.with_suffix("") for name in names]
    count = Counter(_folded(stem) for stem in short)
    wanted = [stem if count[_folded(stem)] == 1 else name for stem, name in zip(short, names, strict=True)]
    taken, chosen = Counter(map(_folded, wanted)), set[str]()
    stems = []
    for stem in wanted:
        own, number = stem, 1
        while _folded(own) in chosen or (number > 1 and taken[_folded(own)]):
            number += 1
            own = stem.with_name(f"{stem.name}-{number}")
        chosen.add(_folded(own))
        stems.append(own)
    return stems


def _identity(path: Path) -> tuple[int, int]:
    facts = path.stat()
    return facts.st_dev, facts.st_ino


def _folded(stem: Path) -> str:
    return str(stem).casefold()


def _dots(name: str) -> list[int]:
    return [place for place, letter in enumerate(name) if letter == "." and place]


def _exists(path: Path) -> UsageError:
    return UsageError(f"{printable(path, None)} exists; name another folder, or --force (in Python: force=True) to write over files")
