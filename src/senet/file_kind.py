"""What lies at a path, asked before it is opened: a pipe could be waited for without an end."""

import stat
from pathlib import Path
from typing import Literal

FileKind = Literal["file", "folder", "device or pipe"]


def file_kind(path: str | Path) -> FileKind | None:
    """Return what a path leads to, links followed; None if nothing that can be reached, or the path is none."""
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError):  # too long, a circle of links, no permission, the character NUL
        return None
    return "file" if stat.S_ISREG(mode) else "folder" if stat.S_ISDIR(mode) else "device or pipe"
