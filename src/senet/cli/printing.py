"""How commands print: tables for people, JSON for programs."""

import sys
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeVar

from rich.console import RenderableType

from senet.jsontext import json_text
from senet.terminal import Terminal

Item = TypeVar("Item")


class Printable(Protocol):
    """Output of a command: a frozen result with a table and plain data."""

    def table(self) -> RenderableType:
        """Return the result as a rich table, or several."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain data."""
        ...


def show(result: Printable, *, as_json: bool, below: Sequence[RenderableType] = ()) -> None:
    """Print a result as JSON, or as a table with others below it."""
    if as_json:
        sys.stdout.write(json_text(result.to_dict()) + "\n")
    else:
        console = Terminal()
        for table in (result.table(), *below):
            console.print(table)


def with_progress(items: Iterable[Item], description: str) -> Iterable[Item]:
    """Pass items on and show on a terminal how many have been."""
    from rich.progress import track

    console = Terminal(stderr=True)
    return track(items, description=description, console=console, disable=not console.is_terminal)
