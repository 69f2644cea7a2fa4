"""The one kind of error a user can mend: it names the value, what is allowed and the likely fix."""

from collections.abc import Iterable
from difflib import get_close_matches
from types import TracebackType

LONGEST_MISSPELT = 200
"""Characters beyond which text is no name that was misspelt, and comparing it would take long."""


class UsageError(ValueError):
    """Input that cannot work: commands print its one line and exit with 2 (no traceback)."""


class Needing:
    """Block of imports from packages that an extra installs; one that is missing becomes UsageError.

    Args:
        what: what needs which package, in words.
        extra: the extra.
    """

    def __init__(self, what: str, extra: str) -> None:
        self._line = f"{what}: pip install 'senet[{extra}]'"

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, ImportError):
            raise UsageError(self._line) from error


def reason_of(error: BaseException, limit: int | None = None) -> str:
    """Return what an error says in one line of at most `limit` characters, or the name of its type where it says nothing."""
    return " ".join(str(error).split())[:limit] or type(error).__name__


def first_line_of(error: BaseException) -> str:
    """Return the first line of what an error says, or the name of its type where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def nearest(value: object, allowed: Iterable[object]) -> str:
    """Return " (did you mean 'x'?)" for the closest allowed name, or an empty string."""
    text = str(value)
    close = get_close_matches(text, [str(name) for name in allowed], n=1, cutoff=0.5) if len(text) <= LONGEST_MISSPELT else []
    return f" (did you mean {close[0]!r}?)" if close else ""


def choice_error(what: str, value: object, allowed: Iterable[object]) -> UsageError:
    """Build the error for a value outside a fixed set of names: `unknown gate 'sigmod' (did you mean 'sigmoid'?); allowed: ...`."""
    names = [str(name) for name in allowed]
    return UsageError(f"unknown {what} {str(value)!r}{nearest(value, names)}; allowed: {', '.join(names)}")
