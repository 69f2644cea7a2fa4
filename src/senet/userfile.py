"""Functions of a user's own file, named path/to/file.py:function; such a file runs only because somebody named it."""

import sys
from collections.abc import Callable
from importlib import util
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
from typing import Any
from zlib import crc32

from senet.errors import UsageError, nearest

_modules: dict[Path, ModuleType] = {}
_files: set[Path] = set()
_named: set[str] = set()


def in_user_file(name: str) -> bool:
    """Return whether a name means something in a user's file."""
    return ".py:" in name


def was_loaded(name: str) -> bool:
    """Return whether this process was told to load `name`, so that a checkpoint may ask for it again."""
    return name in _named


def place_in_user_file(error: BaseException) -> str | None:
    """Return "file.py, line 3" for the innermost line of a user's file that an error passed through; None if it passed through none."""
    files = {str(path) for path in _files}
    frames = [frame for frame in extract_tb(error.__traceback__) if frame.filename in files]
    return f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else None


class UserFiles:
    """The user's files that this process has run; unpickled in another process, they run there, so that what they define is found."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _run_again, (sorted(_modules),)


def _run_again(paths: list[Path]) -> "UserFiles":
    for path in paths:
        _module(path, "file")
    return UserFiles()


def load_function(name: str, what: str, *, imported: bool = False) -> Callable[..., Any]:
    """Run a user's file, once, and return a function or class of it.

    Args:
        name: path/to/file.py:function; a relative path begins at the working directory.
        what: what the function gives, for messages: "network".
        imported: whether it may come from another module that the file imports.

    Raises:
        UsageError: if there is no such file, or nothing of that name in it (the nearest is named).
    """
    file, _, attribute = name.rpartition(":")
    module = _module(Path(file), what)
    found = getattr(module, attribute, None)
    if not callable(found) or not (imported or getattr(found, "__module__", "") == module.__name__):
        own = [key for key, value in vars(module).items() if callable(value) and getattr(value, "__module__", "") == module.__name__]
        raise UsageError(f"{file} has no function or class {attribute!r}{nearest(attribute, own)}; it has: {', '.join(own) or 'none'}")
    _named.add(name)
    return found


def _module(path: Path, what: str) -> ModuleType:
    if not path.is_file():
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
