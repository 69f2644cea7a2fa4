"""Plain data from a file that others may have written, held against rules before anything is made of them.

What a file may say is one value; whatever reads the file calls it once:

    RUN = record({"seed": integer(0, 2**63), "metrics": table(IDENTIFIER, finite()), "note": optional(text(200))}, needed=("seed",))
    tree = read_json(path.read_bytes(), str(path), RUN)

An error is one line that names the file, the place in it, what may stand there and what does: "runs/x/result.json: metrics.top1:
expected a finite number, got 'high'". Nothing is converted: what passes is what the file says. A rule that holds two values against each
other belongs to the dataclass that is built of them. `Requirement.check` takes data that are read already, as those of a checkpoint.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from keyword import iskeyword
from typing import Any

from senet.errors import UsageError, nearest
from senet.text import printable

DEPTH = 32
"""Levels of lists and mappings that plain data may have, unless a rule says less."""

LONGEST_SHOWN = 60
"""Characters of a value that an error shows."""


@dataclass(frozen=True)
class Requirement:
    """Statement of what a value may be.

    Args:
        what: that in words.
        takes: whether a value is of the right type, or right altogether.
        look: checks what is inside a value that is taken, (value, place); raises UsageError.
    """

    what: str
    takes: Callable[[Any], bool]
    look: Callable[[Any, str], None] = lambda value, place: None

    def check(self, value: Any, place: str) -> None:
        """Raise UsageError unless a value is right; `place` says where it stands: "best.safetensors: sites[3].name"."""
        if not self.takes(value):
            raise UsageError(f"{place}: expected {self.what}, got {brief(value)}")
        self.look(value, place)


def text(high: int = 200, *, low: int = 0, pattern: str = ".*", what: str = "text") -> Requirement:
    """Return the rule for text of at most `high` characters that a pattern fits as a whole; `what` says that in words."""
    compiled = re.compile(pattern, re.ASCII | re.DOTALL)
    return Requirement(
        f"{what} of {low} to {high} characters",
        lambda value: isinstance(value, str) and low <= len(value) <= high and compiled.fullmatch(value) is not None,
    )


def integer(low: int, high: int) -> Requirement:
    """Return the rule for whole numbers of a range."""
    return Requirement(f"an integer from {low} to {high}", lambda value: type(value) is int and low <= value <= high)


def finite(low: float = -math.inf, high: float = math.inf, *, above: float = -math.inf) -> Requirement:
    """Return the rule for finite numbers of a range, which begins at `low`, or behind `above`."""
    limits = {f"above {above:g}": above, f"at least {low:g}": low, f"at most {high:g}": -high}
    return Requirement(
        " ".join(["a finite number", *(words for words, limit in limits.items() if limit > -math.inf)]),
        lambda value: _is_number(value) and math.isfinite(value) and low <= value <= high and value > above,
    )


def one_of(*allowed: str) -> Requirement:
    """Return the rule for a member of a set of names."""
    return Requirement(f"one of {', '.join(map(repr, allowed))}", lambda value: isinstance(value, str) and value in allowed)


def optional(rule: Requirement) -> Requirement:
    """Return the rule for null, or what another rule says."""
    return either(NULL, rule)


def either(*rules: Requirement) -> Requirement:
    """Return the rule that a value keeps which is what the first of these says that takes it."""

    def look(value: Any, place: str) -> None:
        next(rule for rule in rules if rule.takes(value)).look(value, place)

    return Requirement(" or ".join(rule.what for rule in rules), lambda value: any(rule.takes(value) for rule in rules), look)


def items(rule: Requirement, low: int = 0, high: int = 1000) -> Requirement:
    """Return the rule for a list, or a tuple, of so many values that one rule holds for."""
    what = f"a list of {low if low == high else f'{low} to {high}'} values, each {rule.what}"

    def look(value: Any, place: str) -> None:
        if not low <= len(value) <= high:
            raise UsageError(f"{place}: expected {what}, got {len(value)}")
        for index, item in enumerate(value):
            rule.check(item, f"{place}[{index}]")

    return Requirement(what, lambda value: isinstance(value, list | tuple), look)


def table(key: Requirement, value: Requirement, high: int = 1000) -> Requirement:
    """Return the rule for a mapping of at most `high` keys that one rule holds for to values that another holds for."""
    what = f"a mapping of at most {high} keys, each {key.what}, to {value.what}"

    def look(tree: Any, place: str) -> None:
        if len(tree) > high:
            raise UsageError(f"{place}: expected {what}, got {len(tree)}")
        for name, item in tree.items():
            key.check(name, f"{place}: a key")
            value.check(item, place_of(name, place))

    return Requirement(what, lambda tree: isinstance(tree, Mapping), look)


def record(known: Mapping[str, Requirement], *, needed: Collection[str] = (), others: Requirement | None = None) -> Requirement:
    """Return the rule for a mapping of known keys.

    Args:
        known: key -> the rule of its value.
        needed: the keys that must be there.
        others: the rule for values of all other keys; None = there may be none.
    """

    def look(tree: Any, place: str) -> None:
        for key, item in tree.items():
            rule = known.get(key, others) if isinstance(key, str) else None
            if rule is None:
                close = nearest(str(key)[:LONGEST_SHOWN], known)
                raise UsageError(f"{place}: unknown field {brief(key)}{close}; allowed: {', '.join(known)}")
            rule.check(item, place_of(key, place))
        if missing := [key for key in needed if key not in tree]:
            raise UsageError(f"{place}: {missing[0]!r} is missing")

    return Requirement("a mapping of names to values", lambda tree: isinstance(tree, Mapping), look)


def plain_data(depth: int = DEPTH, *, allow_nan: bool = False) -> Requirement:
    """Return the rule for any plain data: what JSON can hold, with text as keys and at most `depth` levels of lists and mappings."""

    def takes(value: Any) -> bool:
        level, left = [value], depth
        while level:  # level by level: the depth of data is no depth of calls
            inner: list[Any] = []
            for item in level:
                if isinstance(item, Mapping | list | tuple):
                    if left == 0 or (isinstance(item, Mapping) and not all(isinstance(key, str) for key in item)):
                        return False
                    inner += item.values() if isinstance(item, Mapping) else item
                elif not (item is None or isinstance(item, str | bool | int | float)) or not (allow_nan or _is_finite(item)):
                    return False
            level, left = inner, left - 1
        return True

    return Requirement(f"plain data{'' if allow_nan else ' with finite numbers'} of at most {depth} levels", takes)


NULL = Requirement("null", lambda value: value is None)
FLAG = Requirement("true or false", lambda value: isinstance(value, bool))
IDENTIFIER = Requirement(
    "a name of letters, digits and underscores",
    lambda value: isinstance(value, str) and len(value) <= 200 and value.isascii() and value.isidentifier() and not iskeyword(value),
)
DOTTED = text(1000, low=1, pattern=r"\w+(\.\w+)*", what="names with dots between them, such as layer1.0.bn2,")


def read_json(content: str | bytes, where: str, rule: Requirement | None = None) -> Any:
    """Return what JSON says, held against a rule.

    Args:
        content: the JSON; bytes are UTF-8. Whoever takes it from a file limits its length.
        where: the file, and if need be the place in it, as errors name them.
        rule: what it may say; None = any plain data, where NaN may stand.

    Raises:
        UsageError: if it is no JSON, is nested too deeply, gives a key twice, or breaks the rule.
    """
    try:
        tree = json.loads(content, object_pairs_hook=_unique)
    except RecursionError:
        raise UsageError(f"{where}: lists or mappings are nested too deeply; at most {DEPTH} levels are read") from None
    except ValueError as error:  # also bytes that are not UTF-8, and numbers of 5,000 digits
        raise UsageError(f"{where}: not JSON that can be read ({printable(error)})") from None
    (rule or plain_data(allow_nan=True)).check(tree, where)
    return tree


def place_of(key: object, parent: str) -> str:
    """Return how errors name the place of a key's value: "best.safetensors: model.name" in "best.safetensors: model"."""
    return f"{parent}{'.' if ': ' in parent else ': '}{printable(key, LONGEST_SHOWN)}"


def brief(value: object) -> str:
    """Return a value in few characters; a list or mapping by its size, so that no large one is written out."""
    if isinstance(value, list | tuple | Mapping):
        return f"a {'mapping' if isinstance(value, Mapping) else 'list'} of {len(value)}"
    if isinstance(value, int) and value.bit_length() > 200:
        return f"a number of {value.bit_length()} bits"
    return printable(repr(value[:LONGEST_SHOWN] if isinstance(value, str) else value), LONGEST_SHOWN)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) < len(pairs):
        (name, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"{brief(name)} stands there twice")
    return tree


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_finite(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)
