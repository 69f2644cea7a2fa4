"""Which files below a folder are images, in a fixed order, and what is left out."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from senet.data.image_file import SUFFIXES, is_image_start, open_regular
from senet.errors import UsageError
from senet.text import printable

NO_FOLDERS = frozenset({"@eadir", "__macosx", "#recycle", "#snapshot", "$recycle.bin", "lost+found", "system volume information"})
"""Folders (in lower case) in which systems keep thumbnails, copies and what was deleted; hidden ones are left out, too."""

NO_FILES = frozenset({"thumbs.db", "desktop.ini"})
"""Files (in lower case) that systems put into every folder; hidden ones, such as the resource forks ._*, are left out, too."""

EXAMPLES = 3
"""How many paths a note names."""

Identity = tuple[int, int]
"""Device and inode of a folder, the same by whatever links it is reached."""


@dataclass
class LeftOut:
    """Files and folders that are not read, for which a user may look.

    Args:
        suffixes: suffix in lower case ("" = none) -> how many files are left out for it.
        repeated: links to folders that are read by another path.
        special: pipes, sockets and devices with the suffix of an image.
        broken: links to nothing with the suffix of an image; they count as images that cannot be read.
    """

    suffixes: Counter[str] = field(default_factory=Counter)
    repeated: list[str] = field(default_factory=list)
    special: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def notes(self) -> tuple[str, ...]:
        """Return one line for each kind of thing."""
        counts = ", ".join(f"{printable(suffix, 30) or 'no suffix'} {count}" for suffix, count in self.suffixes.most_common(10))
        more = ", ..." if len(self.suffixes) > 10 else ""
        lines = {
            f"files left out, which are no images that are read, by suffix: {counts}{more}": self.suffixes,
            f"links to folders that are read by another path, left out: {few(self.repeated)}": self.repeated,
            f"pipes, sockets or devices, left out: {few(self.special)}": self.special,
            f"links that lead nowhere, counted as unreadable: {few(self.broken)}": self.broken,
        }
        return tuple(line for line, things in lines.items() if things)


def image_files(folder: Path, left_out: LeftOut, known: Iterable[Path] = ()) -> Iterator[str]:
    """Yield the paths of the images in and below a folder, sorted by name, a folder's own before those of its sub-folders.

    Links are followed; each real folder is read once. An image is a regular file with the suffix of a format that is read; of files without
    suffix, the content decides.

    Args:
        folder: where to look.
        left_out: what is left out is added to it.
        known: folders that are read by themselves, to which links are not followed.

    Raises:
        UsageError: if the folder or one below it cannot be read.
    """
    seen = {_identity(place) for place in known} - {_identity(folder)}
    pending = [str(folder)]
    while pending:
        path = pending.pop()
        if (identity := _identity(path)) in seen:
            left_out.repeated.append(path)
            continue
        seen.add(identity)
        folders = []
        for entry in _entries(path):
            if _is(entry, "is_dir"):
                if not _hidden(entry.name, NO_FOLDERS):
                    folders.append(entry.path)
            elif not _hidden(entry.name, NO_FILES) and _is_image(entry, left_out):
                yield entry.path
        pending += reversed(folders)


def files_with(folder: Path, suffix: str) -> Iterator[str]:
    """Yield the paths of the regular files of a suffix (in any case) in and below a folder, sorted by name; hidden ones are left out.

    Links to folders are not followed.

    Raises:
        UsageError: if the folder or one below it cannot be read.
    """
    pending = [str(folder)]
    while pending:
        entries = [entry for entry in _entries(pending.pop()) if not entry.name.startswith(".")]
        yield from (entry.path for entry in entries if entry.name.lower().endswith(suffix) and _is(entry, "is_file"))
        pending += [e.path for e in reversed(entries) if not _hidden(e.name, NO_FOLDERS) and _is(e, "is_dir") and not e.is_symlink()]


def sub_folders(folder: Path) -> list[str]:
    """Return the sorted names of the folders in a folder that are not hidden or a system's own.

    Raises:
        UsageError: if the folder cannot be read.
    """
    return [entry.name for entry in _entries(str(folder)) if not _hidden(entry.name, NO_FOLDERS) and _is(entry, "is_dir")]


def _is_image(entry: os.DirEntry[str], left_out: LeftOut) -> bool:
    suffix = os.path.splitext(entry.name)[1].lower().removesuffix(".")  # noqa: PTH122 - a Path for each of millions costs seconds
    regular = _is(entry, "is_file")
    if suffix in SUFFIXES:
        if regular:
            return True
        broken = entry.is_symlink() and not os.path.exists(entry.path)  # noqa: PTH110
        (left_out.broken if broken else left_out.special).append(entry.path)
        return broken
    if regular and not suffix and _starts_as_image(entry.path):
        return True
    if regular:
        left_out.suffixes[suffix] += 1
    return False


def _starts_as_image(path: str) -> bool:
    try:
        with open_regular(path) as file:
            return is_image_start(file.read(16))
    except OSError:  # unreadable, as an image would be
        return False


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise UsageError(f"{printable(folder, None)} cannot be read: {error.strerror}; make it readable, or move it away") from error


def _is(entry: os.DirEntry[str], kind: str) -> bool:
    try:
        return getattr(entry, kind)()
    except OSError:  # a link to itself
        return False


def _hidden(name: str, systems: frozenset[str]) -> bool:
    return name.startswith(".") or name.lower() in systems


def _identity(folder: str | Path) -> Identity:
    facts = Path(folder).stat()
    return facts.st_dev, facts.st_ino


def few(names: Sequence[str], shown: int = EXAMPLES) -> str:
    """Return the first of some names in words, and how many more there are."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(printable(name) for name in names[:shown]) + more
