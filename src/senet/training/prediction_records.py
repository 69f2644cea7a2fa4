"""Predictions as lines of JSON in one file, each written as soon as it is there; an interrupted prediction goes on behind the last one."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from errno import EWOULDBLOCK
from os import SEEK_END
from pathlib import Path
from typing import Any

from senet.atomic import FULL, REFUSED, DiskFullError, NotWrittenError, write_text
from senet.errors import UsageError, reason_of
from senet.jsontext import json_text
from senet.text import printable

LINES = ".jsonl"
"""How the name of such a file ends."""

LOOK = 2**16
"""Bytes that are looked through at a time for the last whole line."""

BEGUN = "begun"
"""Key beside what predictions were made with: the images whose files were written last."""


class PredictionRecords:
    """File of predictions, a line an image. Beside it NAME.about.json says what they were made with.

    Args:
        path: the file, NAME.jsonl.
        force: whether one that is there is written anew; else it is gone on with.
    """

    def __init__(self, path: str | Path, *, force: bool = False) -> None:
        self.path = Path(path)
        self.force = force
        self.images = self.unreadable = self.added = 0
        self.resumed = not force and self.path.exists() and (self.path.stat().st_size > 0 or bool(self._begun()))

    @property
    def about(self) -> Path:
        """The file that says what the predictions are made with."""
        return self.path.with_name(f"{self.path.name}.about.json")

    def begin(self, about: Mapping[str, Any]) -> None:
        """Open the file: anew, or behind its last whole line.

        Args:
            about: on what predictions depend beside the images, as plain data.

        Raises:
            UsageError: if another process writes there or has begun to since, or what is there was made with something else.
        """
        self._means = about
        if self.resumed:
            self._check(json.loads(json_text(about)))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as failed:
            self._file = failed.enter_context(self.path.open("a+b", buffering=0))
            _lock(self._file, self.path)
            if not self.force and not self.resumed and self._file.seek(0, SEEK_END):
                raise UsageError(f"another process has written {printable(self.path, None)} meanwhile; repeat the command to go on with it")
            self._file.truncate(_whole_lines(self._file) if self.resumed else 0)
            if not self.resumed:
                self._note([])
            failed.pop_all()

    def known(self, about: Mapping[str, Any]) -> set[str]:
        """Return the images of which files may be there, before the file is begun: those that have a line, or were begun behind the last.

        Raises:
            UsageError: if what is there was made with something else than `about`, or a line is none of ours.
        """
        if not self.resumed:
            return set()
        self._check(json.loads(json_text(about)))
        return {record["image"] for record in self._lines()} | set(self._begun())

    @contextmanager
    def noted(self, images: Sequence[str]) -> Iterator[None]:
        """Note the images of which files are written inside, so that what is left of them after any end is known as theirs.

        Raises:
            NotWrittenError: if there is no room, or nothing can be written any more.
        """
        with self._writing():
            os.fsync(self._file.fileno())  # lines reach the disk before the note that knew their images is gone
        self._note(images)
        try:
            yield
        except UsageError:  # a user's file stands there, which must not be taken for ours the next time
            self._note([])
            raise

    def done(self) -> Iterator[str]:
        """Yield the names of the images that are there, and count them.

        Raises:
            UsageError: for a line that is none of ours.
        """
        for record in self._lines():
            self._count(record["error"])
            yield record["image"]

    def add(self, record: Mapping[str, Any]) -> None:
        """Write one prediction.

        Raises:
            NotWrittenError: if there is no room, or nothing can be written any more.
        """
        line = f"{json_text(record, indent=None)}\n".encode("ascii")
        with self._writing():
            while line:
                line = line[self._file.write(line) :]
        self.added += 1
        self._count(record["error"])

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in (*FULL, *REFUSED):
                raise
            kind = DiskFullError if error.errno in FULL else NotWrittenError
            what = f"cannot write {printable(self.path, None)}: {error.strerror}; {self.images} images are there"
            raise kind(f"{what}. See that it can be written, then repeat the command") from error

    def _lines(self) -> Iterator[dict[str, Any]]:
        """Yield the whole lines that are there."""
        with self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    return
                record: Any = None
                try:
                    record = json.loads(line)
                    ours = isinstance(record["image"], str) and "error" in record
                except (ValueError, TypeError, KeyError, RecursionError):
                    ours = False
                if not ours:
                    place = f"{printable(self.path, None)}: line {number}"
                    raise UsageError(f"{place} is no prediction; name another file, or --force to begin anew")
                yield record

    def _note(self, images: Sequence[str]) -> None:
        write_text(self.about, json_text({**self._means, BEGUN: list(images)} if images else self._means) + "\n")

    def _begun(self) -> list[str]:
        """Return the images whose files were written last, if that is known."""
        try:
            return [name for name in json.loads(self.about.read_bytes())[BEGUN] if isinstance(name, str)]
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return []

    def _count(self, error: str | None) -> None:
        self.images += 1
        self.unreadable += error is not None

    def _check(self, about: Mapping[str, Any]) -> None:
        """Raise UsageError unless the predictions that are there were made with the same."""
        try:
            there = json.loads(self.about.read_bytes())
            changed = [name for name in {**there, **about} if name != BEGUN and there.get(name) != about.get(name)]
        except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise UsageError(
                f"{printable(self.path, None)} exists, and {self.about.name} does not say what it was made with ({reason_of(error, 80)}); "
                "name another file, or --force to begin anew"
            ) from error
        if changed:
            said = ", ".join(f"{name} {_brief(there.get(name))}, now {_brief(about.get(name))}" for name in changed)
            raise UsageError(f"{printable(self.path, None)} was begun with {said}; name another file, or --force to begin anew")


def _brief(value: Any) -> str:
    return printable(json_text(value, indent=None), 60)


def _lock(file: Any, path: Path) -> None:
    """Let no other process write a file while it is open; where the system has no such locks, nothing happens."""
    try:
        import fcntl
    except ImportError:  # on Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno == EWOULDBLOCK:
            raise UsageError(f"another process writes {printable(path, None)}; wait for its end, or name another file") from None


def _whole_lines(file: Any) -> int:
    """Return how many bytes of a file are whole lines: all to its last line's end."""
    end = file.seek(0, SEEK_END)
    while end:
        start = max(0, end - LOOK)
        file.seek(start)
        if (place := file.read(end - start).rfind(b"\n")) >= 0:
            return start + place + 1
        end = start
    return 0
