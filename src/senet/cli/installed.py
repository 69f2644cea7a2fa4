"""Which packages senet needs, for itself and for each extra, and which are there: read from metadata, nothing is imported."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import requires

from senet.measuring.machine import version_of

REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(?:\[[^\]]*\])?\s*(?P<bounds>[^;\[]*?)\s*(?:;.*extra == ['\"](?P<extra>[\w.-]+)['\"].*)?")
CORE = "core"


@dataclass(frozen=True)
class Package:
    """One requirement.

    Args:
        name: name of the package.
        bounds: versions that are asked for, such as ">=2.13"; empty = any.
        found: the version that is installed, or None.
    """

    name: str
    bounds: str
    found: str | None

    @property
    def complaint(self) -> str:
        """What is wrong with it in a few words, or an empty string."""
        if self.found is None:
            return f"{self.name}{self.bounds} is missing"
        if not all(_satisfies(self.found, bound) for bound in self.bounds.split(",") if bound):
            return f"{self.name} is {self.found}, needs {self.bounds}"
        return ""


def packages() -> dict[str, tuple[Package, ...]]:
    """Return what senet itself ("core") and each of its extras ask for; an extra that holds others lists only its own."""
    wanted: dict[str, dict[str, str]] = {CORE: {}}
    for text in requires("senet") or ():
        if (match := REQUIREMENT.fullmatch(text)) and match["name"] != "senet":
            wanted.setdefault(match["extra"] or CORE, {})[match["name"]] = match["bounds"]
    return {extra: _look_up(names.items()) for extra, names in wanted.items()}


def _look_up(wanted: Iterable[tuple[str, str]]) -> tuple[Package, ...]:
    return tuple(Package(name, bounds, version_of(name)) for name, bounds in wanted)


def _satisfies(found: str, bound: str) -> bool:
    """Compare the numbers of two releases; the bounds of this project are `>=` and `<`."""
    if bound.startswith(">="):
        return _numbers(found) >= _numbers(bound[2:])
    return not bound.startswith("<") or _numbers(found) < _numbers(bound[1:])


def _numbers(release: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", release.partition("+")[0])]
