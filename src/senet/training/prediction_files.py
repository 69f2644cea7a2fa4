"""Files of predictions: what a task predicts of an image, and a picture that shows it, named after the image."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from PIL import Image

from senet.atomic import replacing
from senet.data.given_images import ListedImage
from senet.data.video import is_video
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
        known: images and frames, as `ListedImage` calls them, whose files are theirs if they are there.
    """

    out: str | Path | None = None
    overlay: str | Path | None = None
    force: bool = False
    gates: str | Path | None = None
    stems: Mapping[str, Path] = field(default_factory=dict)
    known: set[str] = field(default_factory=set, repr=False, compare=False)

    @property
    def places(self) -> dict[str, str | Path | None]:
        """What is written -> the folder; None = it is not."""
        return {"out": self.out, "overlay": self.overlay, "gates": self.gates}

    @property
    def folders(self) -> list[Path]:
        """The folders in which files are written."""
        return [Path(folder) for folder in self.places.values() if folder is not None]

    def planned(self, images: Sequence[ListedImage], known: Collection[str] = ()) -> "PredictionFiles":
        """Return the places with a name for each image's files.

        Args:
            images: all that are asked for.
            known: those whose files an earlier process has written or begun to.

        Raises:
            UsageError: if a file of another image is there and may not be written over, or two folders are the same.
        """
        folders = [folder.resolve() for folder in self.folders]
        if twice := [folder for folder, real in zip(self.folders, folders, strict=True) if folders.count(real) > 1]:
            raise UsageError(f"predictions and pictures cannot both be written to {printable(twice[0], None)}: name two folders")
        names = {str(image.path): image.name for image in images}  # one that is asked for twice has one name
        stems = dict(zip(names, distinct_stems(list(names.values())), strict=True))
        for folder in () if self.force else self.folders:
            _check_free(folder, stems, known)
        return replace(self, stems=stems, known=set(known))

    def write(
        self, listed: ListedImage, prediction: Prediction, image: Image.Image | None, sheet: Image.Image | None = None
    ) -> dict[str, str]:
        """Write the files of one prediction, none if one may not be; return what each is -> where it is.

        Args:
            listed: the image, one of those that were planned, or a frame of one.
            prediction: what was predicted.
            image: the image in RGB; a picture of the prediction needs it.
            sheet: the picture of its gates, if there is one.

        Raises:
            UsageError: if a file has come to stand there since, or an image that was asked for would be written over.
        """
        writers = _writers(prediction, image, sheet)
        targets = {
            what: self._target(folder, listed, writers[what][0])
            for what, folder in self.places.items()
            if folder is not None and what in writers
        }
        for what, target in targets.items():
            with replacing(target) as temporary:
                writers[what][1](temporary)
        self.known.add(str(listed))
        return {what: str(target) for what, target in targets.items()}

    def _target(self, folder: str | Path, listed: ListedImage, suffix: str) -> Path:
        stem = self.stems[str(listed.path)]
        stem = stem if listed.moment is None else stem / f"{listed.moment.frame:06}"
        target = Path(folder, stem.parent, f"{stem.name}{suffix}")
        if target.exists():
            if not self.force and str(listed) not in self.known:
                raise _exists(target)
            if _identity(target) in self._asked:
                raise UsageError(f"{printable(target, None)} is an image that was asked for, and is not written over; name another folder")
        return target

    @cached_property
    def _asked(self) -> frozenset[tuple[int, int]]:
        """The files that are asked for, whatever their paths."""
        return frozenset(_identity(Path(image)) for image in self.stems if Path(image).exists())


def _writers(
    prediction: Prediction, image: Image.Image | None, sheet: Image.Image | None
) -> dict[str, tuple[str, Callable[[Path], object]]]:
    """Return what can be written of a prediction -> the suffix, and what writes it."""

    def as_json(path: Path) -> None:
        path.write_text(json_text(prediction.to_dict()) + "\n", encoding="utf-8")

    writers: dict[str, tuple[str, Callable[[Path], object]]]
    writers = {"out": (getattr(prediction, "suffix", ".json"), getattr(prediction, "write", as_json))}
    if image is not None:
        writers["overlay"] = (".png", lambda path: prediction.draw(image).save(path, "PNG"))
    if sheet is not None:
        writers["gates"] = (".png", lambda path: sheet.save(path, "PNG"))
    return writers


def _check_free(folder: Path, stems: Mapping[str, Path], known: Collection[str]) -> None:
    """Raise UsageError for the first file that is there under the name of an image, whatever its suffix, unless the image is known.

    Where names begin alike (a and a.b), a file is that of the longest.
    """
    images = {((folder / stem).parent, stem.name): image for image, stem in stems.items()}
    taken = {}
    for parent in {parent for parent, _ in images}:
        for entry in parent.iterdir() if parent.is_dir() else ():
            named = ((parent, entry.name[:end]) for end in reversed(_dots(entry.name)))
            if name := next((name for name in named if name in images), None):
                taken[name] = entry
    for name, image in images.items():
        if name in taken and image not in known:
            raise _exists(taken[name])


def distinct_stems(names: Sequence[Path]) -> list[Path]:
    """Return a path without suffix for each file, no two alike on any file system.

    Files that differ in their suffix alone keep it (a.jpg and a.png), and others are numbered: a file may be asked for in two folders.
    So is a video where files of images would lie among those of its frames.
    """
    short = [name.with_suffix("") for name in names]
    count = Counter(_folded(stem) for stem in short)
    wanted = [stem if count[_folded(stem)] == 1 else name for stem, name in zip(short, names, strict=True)]
    taken, chosen = Counter(map(_folded, wanted)), set[str]()
    folders = {_folded(folder) for stem in wanted for folder in stem.parents}
    stems = []
    for name, stem in zip(names, wanted, strict=True):
        own, number = stem, 1
        among = folders if is_video(name) else ()
        while _folded(own) in chosen or (number > 1 and taken[_folded(own)]) or _folded(own) in among:
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
    return UsageError(f"{printable(path, None)} exists; move it away, name another folder, or --force (in Python: force=True)")
