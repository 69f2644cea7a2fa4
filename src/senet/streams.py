"""stdout and stderr of a process: they take any text, whatever the terminal's encoding, and may be closed."""

import logging
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from senet.text import message_line, printable


class OneLine(logging.Formatter):
    """Format of a remark on stderr: one printable line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return message_line(record.getMessage())


def prepare_streams() -> None:
    """Spell characters that the terminal's encoding lacks, where printing would fail; a stream that is closed takes everything."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - for the rest of the process
        elif reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")
    if logging.lastResort is not None:  # where remarks go as long as nobody sets up logging
        logging.lastResort.setFormatter(OneLine())


def say(text: object, *, error: bool = False) -> None:
    """Print one line that may hold anybody's text: on stdout, or (`error`) on stderr, where nobody need read it."""
    try:
        print(printable(text, None), file=sys.stderr if error else sys.stdout)
    except OSError:
        if not error:
            raise
        drop(sys.stderr)


def drop(stream: Any) -> None:
    """Let what is still written to a stream vanish, also what its buffer holds; one that is no file stays as it is."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    with suppress(OSError):
        os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
