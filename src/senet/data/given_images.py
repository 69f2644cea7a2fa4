"""Which images a user asks for: files, folders, patterns, lists, standard input, frames of videos, one after the other."""

import glob
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from senet.data.image_file import open_regular
from senet.data.image_lists import said_lines, unreadable_list
from senet.data.source import UnreadableImageError
from senet.data.video import FrameStep, Moment, import_av, is_video, video_frames
from senet.errors import UsageError
from senet.file_kind import file_kind
from senet.text import printable

STDIN = "-"
"""Word for the lines of standard input."""

LIST = "@"
"""Sign before the name of a file whose lines are taken."""


@dataclass(frozen=True)
class ListedImage:
    """Image to be predicted.

    Args:
        path: its file.
        name: what names the files that are made of it: its path below the folder that was asked for, or the file's own name.
        moment: place in a video; None = the file is an image.
        frame: the picture there, which no file holds by itself; None once it is done with.
        error: why the rest of a video cannot be read.
    """

    path: str | Path
    name: Path
    moment: Moment | None = None
    frame: Image.Image | None = None
    error: str | None = None

    def __str__(self) -> str:
        """Return what the image is called: its path, of a frame with the time, as in "clip.mp4#t=12.480"."""
        return str(self.path) if self.moment is None else f"{self.path}#t={self.moment.seconds:.3f}"

    def without_frame(self) -> "ListedImage":
        """Return what is known of it without its picture."""
        return replace(self, frame=None)


@dataclass(frozen=True)
class GivenImages:
    """Images that a user asks for, listed anew whenever they are iterated; only names of one folder or pattern are held at a time.

    Args:
        words: files of images, videos and volumes, folders, patterns such as "photos/**/*.jpg", "@list.txt", or "-". What is there under a
            word as it stands is no pattern or list.
        in_folder: gives the files of a folder, and raises UsageError if there are none.
        in_file: gives a file by itself, and raises UsageError if it is of a kind that cannot be predicted.
        step: which frames of videos are taken.
        max_pixels: largest width x height of a frame.
        held: the files, once they are listed for good.
    """

    words: Sequence[str | Path]
    in_folder: Callable[[Path], Iterable[ListedImage]]
    in_file: Callable[[str | Path], ListedImage]
    step: FrameStep
    max_pixels: int
    held: Sequence[ListedImage] | None = None

    @property
    def many(self) -> bool:
        """Whether there may be more files than words."""
        return any(file_kind(word) != "file" for word in self.words)

    def check(self) -> None:
        """Raise UsageError for a word that leads to nothing, before any work; a file that is missing is found out in its turn."""
        if list(map(str, self.words)).count(STDIN) > 1:
            raise UsageError(f"standard input is read once: give {STDIN!r} once")
        for word in self.words:
            if str(word) != STDIN:
                first = next(_below(word, self.in_folder, self.in_file), None)
                if first is None:
                    raise UsageError(f"{printable(word, None)}: this list names no images")
                if is_video(first.path):
                    import_av()

    def files(self) -> Iterator[ListedImage]:
        """Yield the files in the order of the words, those of a folder or a pattern sorted.

        Raises:
            UsageError: if a folder or a pattern has none, or a list cannot be read.
        """
        if self.held is not None:
            yield from self.held
        else:
            for word in self.words:
                yield from _below(word, self.in_folder, self.in_file)

    def __iter__(self) -> Iterator[ListedImage]:
        """Yield the files, and instead of each video its frames."""
        for file in self.files():
            if is_video(file.path):
                yield from self._frames(file)
            else:
                yield file

    def __length_hint__(self) -> int:
        """Return how many images there are; Python's NotImplemented if only reading them tells."""
        if self.held is None and STDIN in map(str, self.words):
            return NotImplemented
        count = 0
        for file in self.files():
            if is_video(file.path):
                return NotImplemented
            count += 1
        return count

    def _frames(self, video: ListedImage) -> Iterator[ListedImage]:
        try:
            for moment, frame in video_frames(video.path, self.step, self.max_pixels):
                yield replace(video, moment=moment, frame=frame)
        except UnreadableImageError as error:
            yield replace(video, error=str(error))


def _below(
    word: str | Path, in_folder: Callable[[Path], Iterable[ListedImage]], in_file: Callable[[str | Path], ListedImage]
) -> Iterator[ListedImage]:
    """Yield the files that a word leads to."""
    there = file_kind(word)
    if there == "folder":
        yield from in_folder(Path(word))
    elif there is None and (lines := _lines(str(word))) is not None:
        for line in lines:
            yield from in_folder(Path(line)) if file_kind(line) == "folder" else [in_file(line)]
    elif there is None and glob.has_magic(str(word)):
        found = sorted(glob.iglob(str(word), recursive=True))  # noqa: PTH207 - those of Path take no absolute pattern
        paths = [path for path in found if file_kind(path) != "folder"]
        if not paths:
            raise UsageError(f"{printable(word, None)}: no file has a name of this pattern")
        yield from map(in_file, paths)
    else:
        yield in_file(word)


def _lines(word: str) -> Iterator[str] | None:
    """Return the lines of standard input or of a list; None if the word names neither."""
    if word == STDIN:
        if sys.stdin is None:
            raise UsageError("standard input is closed, and images are to be read from there")
        return said_lines(sys.stdin.buffer)
    return _lines_of(Path(word.removeprefix(LIST))) if word.startswith(LIST) else None


def _lines_of(path: Path) -> Iterator[str]:
    with unreadable_list(path), open_regular(path) as file:
        yield from said_lines(file)
