"""Regular expressions by which users name modules, and what comes near one that matches nothing."""

import re
from collections.abc import Collection
from difflib import get_close_matches

from senet.errors import UsageError


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Compile a regular expression given by a user.

    Raises:
        UsageError: if it is none.
    """
    try:
        return re.compile(pattern)
    except re.error as error:
        raise UsageError(f"{pattern!r} is not a regular expression: {error}") from error


def close_matches(pattern: str, names: Collection[str], count: int = 5) -> str:
    """Return the names that come nearest to a pattern, in words."""
    plain = re.sub(r"\\[dws][*+?]?|[\\^$()\[\]|*+?]|\.[*+]", "", pattern)
    close = get_close_matches(plain, names, n=count, cutoff=0.4) or list(names)[:count]
    return f"near it: {', '.join(close)}" if close else "there are none"
