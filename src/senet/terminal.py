"""The console that commands and progress write to: a name is text and nothing else, and nobody has to read to the end."""

import sys
from typing import Any

from rich.console import Console, RenderableType
from rich.text import Text

from senet.streams import drop
from senet.text import printable_lines


class Terminal(Console):
    """Console that shows strings as they are: no markup, no emoji codes, control characters spelled out.

    When the reader of a pipe goes away, output raises BrokenPipeError, which ends a command, and progress (stderr) stops being shown: a run
    is not to end because nobody watches it.

    Args:
        stderr: whether it writes to stderr.
        highlight: whether numbers and paths are coloured.
        width: columns; None = those of the terminal.
        colours: whether there are colours, where the terminal has some.
    """

    def __init__(self, *, stderr: bool = False, highlight: bool = True, width: int | None = None, colours: bool = True) -> None:
        system: Any = "auto" if colours else None
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=highlight, width=width, color_system=system)

    def render_str(self, text: str, **options: Any) -> Text:
        """Turn a string into what is printed."""
        return super().render_str(printable_lines(text), **options)

    def _check_buffer(self) -> None:
        try:
            super()._check_buffer()
        except OSError:  # a terminal that was closed, a full disk: as if nobody read it
            if not self.stderr:
                raise
            self.on_broken_pipe()

    def on_broken_pipe(self) -> None:
        """Raise BrokenPipeError for output; let progress go unseen."""
        if not self.stderr:
            raise BrokenPipeError
        self.quiet = True
        drop(sys.stderr)


def literal(text: str, style: str = "") -> Text:
    """Return text as it is to be shown, in a style, or where a string would be read as markup (by a spinner)."""
    return Text(printable_lines(text), style)


def as_text(renderable: RenderableType, width: int) -> str:
    """Return what a console of so many columns would show, without colours and trailing spaces."""
    console = Terminal(width=width, colours=False)
    with console.capture() as capture:
        console.print(renderable)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())
