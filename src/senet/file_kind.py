"""What lies at a path, asked before it is opened: a pipe could be waited for without an end."""

import os
import stat
from errno import ENAMETOOLONG
from pathlib import Path
from typing import Literal

from senet.errors import UsageError
from senet.text import printable

FileKind = Literal["file", "folder", "device or pipe"]


def file_kind(path: str | Path) -> FileKind | None:
    """Return what a path leads to, links followed; None if nothing that can be reached, or the path is none."""
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError):  # too long, a circle of links, no permission, the character NUL
        return None
    return "file" if stat.S_ISREG(mode) else "folder" if stat.S_ISDIR(mode) else "device or pipe"


def is_url(text: str) -> bool:
    """Return whether a text is the address of something on a server and no path."""
    return "://" in text


def user_path(text: str | Path) -> Path:
    """Return the path that a user wrote, `~` replaced by the home folder; `~name` of a user who is not known stays.

    Raises:
        UsageError: if it is longer than paths can be, or holds characters that none can have, such as NUL.
    """
    path = os.path.expanduser(text)  # noqa: PTH111 - that of Path raises RuntimeError for an unknown user
    try:
        os.lstat(path)
    except ValueError:
        raise UsageError(f"{printable(repr(str(text)))} holds characters that no path can have") from None
    except OSError as error:
        if error.errno == ENAMETOOLONG:
            raise UsageError(f"{printable(path, 60)!r} is too long for a path") from None
    return Path(path)
