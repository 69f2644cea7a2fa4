"""How commands print: tables for people, JSON for programs."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from rich.console import RenderableType

from senet.jsontext import json_text
from senet.terminal import Terminal

if TYPE_CHECKING:
    from senet.results.comparison import Result

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


class JsonList:
    """JSON object whose first value is a list, printed item by item as `json_text` gives the whole.

    Args:
        name: key of the list.
    """

    def __init__(self, name: str) -> None:
        self._name, self._begun = name, False

    def add(self, item: Any) -> None:
        """Print an item."""
        before = "," if self._begun else f'{{\n  "{self._name}": ['
        sys.stdout.write(f"{before}\n{indent(json_text(item), '    ')}")
        self._begun = True

    def end(self, others: Mapping[str, Any]) -> None:
        """Print the other keys with their values, and the end."""
        if not self._begun:
            sys.stdout.write(json_text({self._name: [], **others}) + "\n")
            return
        rest = "".join(f',\n  "{name}": {indent(json_text(value), "  ").lstrip()}' for name, value in others.items())
        sys.stdout.write(f"\n  ]{rest}\n}}\n")


def show_comparison(result: "Result", *, as_json: bool) -> None:
    """Print the result of a comparison, what it supports and where it was written."""
    show(result, as_json=as_json, below=result.part_tables())
    if as_json:
        return
    Terminal(highlight=False).print(result.summary)
    show_to_copy({what: path.resolve() for what, path in (("report", result.page), ("result", result.json)) if path is not None})


def show_to_copy(places: Mapping[str, str | Path], commands: Mapping[str, str] | None = None) -> None:
    """Print what people copy, in lines that no width wraps.

    Args:
        places: what was written -> where, a line each.
        commands: what for -> the command, which has a line of its own.
    """
    console = Terminal(highlight=False)
    for what, place in places.items():
        console.print(f"{what}: {place}", soft_wrap=True)
    for what, command in (commands or {}).items():
        console.print(f"{what}:\n{command}", soft_wrap=True)


@contextmanager
def with_steps(*, quiet: bool) -> Iterator[Callable[[str, int, int | None], object]]:
    """Yield what shows on a terminal how far each step of a command is: called with the step, what is done, and of how much if known."""
    from rich.progress import Progress, TaskID

    console, steps = Terminal(stderr=True), dict[str, TaskID]()
    with Progress(console=console, disable=quiet or not console.is_terminal) as bars:

        def watch(what: str, done: int, total: int | None) -> None:
            if what not in steps:
                steps[what] = bars.add_task(what, total=None)
            bars.update(steps[what], completed=done, total=total)

        yield watch


def with_progress(items: Iterable[Item], description: str) -> Iterable[Item]:
    """Pass items on and show on a terminal how many have been."""
    console = Terminal(stderr=True)
    if not console.is_terminal:
        return items
    from rich.progress import track

    return track(items, description=description, console=console)
