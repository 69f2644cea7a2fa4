"""Functions of a user's own file, named path/to/file.py:function; such a file runs only because somebody named it."""

import re
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from importlib import util
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
from typing import Any
from zlib import crc32

from senet.errors import UsageError, nearest
from senet.file_kind import file_kind
from senet.text import printable

INSTALLED = re.compile(r"/(site-packages|dist-packages|lib(32|64)?/python[\d.]+t?)/")
"""Folders of Python's own modules and of packages, by the path inside a project."""

STDLIB = Path(sysconfig.get_path("stdlib")).resolve()

_allowed: ContextVar[tuple[Path, ...]] = ContextVar("_allowed", default=())
_modules: dict[Path, ModuleType] = {}
_files: set[Path] = set()
_named: set[str] = set()


def in_user_file(name: str) -> bool:
    """Return whether a name means something in a user's file."""
    return ".py:" in name


def was_loaded(name: str) -> bool:
    """Return whether this process was told to load `name`, so that a checkpoint may ask for it again."""
    return name in _named


def may_run(name: str) -> bool:
    """Return whether somebody asked this process for `name`, or allowed the code that it lies in."""
    return name in _named or any(map(code_file(name).is_relative_to, _allowed.get()))


@contextmanager
def allow_code(*paths: str | Path) -> Iterator[None]:
    """Let recipes, run folders and weights run the code of a file, or of any file in a folder, that they name, while the block runs.

    Without it a recipe may name code in its own folder or the working folder, and weights may name none.

    Raises:
        UsageError: if there is no such file or folder.
    """
    for path in paths:
        if file_kind(path) not in ("file", "folder"):
            raise UsageError(f"--allow-code: there is no file or folder {str(path)!r}")
    token = _allowed.set((*_allowed.get(), *(Path(path).resolve() for path in paths)))
    try:
        yield
    finally:
        _allowed.reset(token)


def allowed_code() -> tuple[Path, ...]:
    """Return the files and folders whose code is allowed here, for another process that is to allow the same."""
    return _allowed.get()


def check_code(name: str, folder: Path | None, what: str) -> None:
    """Raise UsageError unless something that was read may name this code: it lies in that thing's folder, or in the working folder.

    Links are followed first. What is installed there (Python's own modules, site-packages) is nobody's own code.

    Args:
        name: path/to/file.py:function.
        folder: where what was read lies; None = nowhere.
        what: what names the code, for the error: "recipe mine.yaml: task".
    """
    place = code_file(name)
    working = Path.cwd()
    if may_run(name) or any(_is_own(place, root) for root in (folder and folder.resolve(), working if working != working.parent else None)):
        return
    raise UsageError(
        f"{what} names code in {str(place)!r}, which is neither beside it nor in the working folder; if you know what that file does: "
        f"--allow-code {place} (in Python senet.allow_code)"
    )


def code_file(name: str) -> Path:
    """Return the file of path/to/file.py:function, links followed.

    Raises:
        UsageError: if they lead in a circle, or the name is no path.
    """
    try:
        return Path(name.rpartition(":")[0]).resolve()
    except (OSError, RuntimeError, ValueError):  # a circle of links, the character NUL
        raise UsageError(f"{printable(name)} is no path/to/file.py:function that can be followed") from None


def _is_own(place: Path, root: Path | None) -> bool:
    if root is None or not place.is_relative_to(root):
        return False
    return not INSTALLED.search(f"/{place.relative_to(root).as_posix()}") and not place.is_relative_to(STDLIB)


def place_in_user_file(error: BaseException) -> str | None:
    """Return "file.py, line 3" for the innermost line of a user's file that an error passed through; None if it passed through none."""
    files = {str(path) for path in _files}
    frames = [frame for frame in extract_tb(error.__traceback__) if frame.filename in files]
    return f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else None


def with_place(text: str, error: BaseException) -> str:
    """Return text about an error with the line of a user's file that it came from, if it is from one: "text (file.py, line 3)"."""
    place = place_in_user_file(error)
    return f"{text} ({place})" if place else text


class UserFiles:
    """The user's files that this process has run; unpickled in another process, they run there, so that what they define is found.

    A file that is gone by then is left out: whoever needs it says so, and nobody else has to.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return _run_again, (sorted(path for path in _modules if path.is_file()),)


def _run_again(paths: list[Path]) -> "UserFiles":
    for path in paths:
        _module(path, "file")
    return UserFiles()


def load_function(name: str, what: str) -> Callable[..., Any]:
    """Run a user's file, once, and return a function or class that is defined in it, or in a file beside it that it imports.

    Args:
        name: path/to/file.py:function; a relative path begins at the working directory.
        what: what the function gives, for messages: "network".

    Raises:
        UsageError: if there is no such file, or nothing of that name in it (the nearest is named).
    """
    file, _, attribute = name.rpartition(":")
    module = _module(Path(file), what)
    found = getattr(module, attribute, None)
    if not callable(found) or not _is_defined(found, module, file):
        own = [
            key for key, value in vars(module).items() if callable(value) and _is_defined(value, module, file) and not key.startswith("_")
        ]
        raise UsageError(f"{file} has no function or class {attribute!r}{nearest(attribute, own)}; it has: {', '.join(own) or 'none'}")
    _named.add(name)
    return found


def _is_defined(found: Any, module: ModuleType, file: str) -> bool:
    """Return whether a function or class comes from a user's file itself, or from one beside it; others were imported for its own use."""
    if isinstance(found, partial):
        return True  # made there: no module has such a thing to import
    home = sys.modules.get(getattr(found, "__module__", None) or "")
    source = getattr(home, "__file__", None)
    return home is module or (source is not None and _is_own(Path(source).resolve(), Path(file).resolve().parent))


def _module(path: Path, what: str) -> ModuleType:
    if file_kind(path) != "file":
        raise UsageError(f"there is no file {str(path)!r}: a {what} of your own is named path/to/file.py:function")
    place = path.resolve()
    _files.add(place)
    if place not in _modules:
        spec = util.spec_from_file_location(f"senet_user_{path.stem}_{crc32(bytes(place)):08x}", place)
        assert spec is not None
        assert spec.loader is not None
        module = util.module_from_spec(spec)
        sys.modules[spec.name] = module  # where dataclasses and pickle look for it
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[spec.name]
            raise
        _modules[place] = module
    return _modules[place]
