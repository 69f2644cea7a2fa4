"""YAML that anybody may have written: plain values only, each key once, and never more than a recipe needs."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.error import MarkedYAMLError

from senet.errors import UsageError
from senet.file_kind import file_kind
from senet.text import message_line, printable
from senet.unit_values import UNIT_NAME

LONGEST_YAML = 256 * 1024
"""Bytes of a file of YAML; the recipes of the package have 2,000."""

MOST_VALUES = 10_000
"""Values that YAML may stand for, each alias counted as all that it repeats."""

MOST_LEVELS = 20
"""Levels of lists and mappings, aliases followed."""

MOST_DIGITS = 100
"""Characters of a number."""

TAG = "tag:yaml.org,2002:"
PLAIN_TAGS = tuple(TAG + kind for kind in ("null", "bool", "int", "float", "str", "seq", "map"))
"""The tags of values that are read; dates are text."""

MERGE_TAG = f"{TAG}merge"
"""The tag of the key `<<`."""


class PlainLoader(yaml.SafeLoader):
    """Reader of YAML that stands for plain values, of a size that is known before they are built."""

    yaml_constructors = {tag: build for tag, build in yaml.SafeLoader.yaml_constructors.items() if tag in PLAIN_TAGS}
    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag in (*PLAIN_TAGS, MERGE_TAG)]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._level = self._composed = 0
        self._sizes: dict[yaml.Node, tuple[int, int]] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node, and count the values and levels that it stands for."""
        event: Any = self.peek_event()  # pyright: ignore[reportAttributeAccessIssue] - of another base class
        mark = event.start_mark
        self._level, self._composed = self._level + 1, self._composed + 1
        if self._level > MOST_LEVELS or self._composed > MOST_VALUES:
            raise ConstructorError(None, None, f"more than {MOST_VALUES:,} values or {MOST_LEVELS} levels", mark)
        node = super().compose_node(parent, index)
        self._level -= 1
        if node is None:
            return node
        if isinstance(event, yaml.AliasEvent) and node not in self._sizes:
            raise ConstructorError(None, None, f"the alias *{event.anchor} is a part of what it stands for", mark)
        self._sizes.setdefault(node, self._size(node))
        if self._sizes[node][0] > MOST_VALUES or self._level + self._sizes[node][1] > MOST_LEVELS:
            raise ConstructorError(None, None, f"more than {MOST_VALUES:,} values or {MOST_LEVELS} levels, aliases followed", mark)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Build a mapping in which no key is given twice; a key such as 3_4, which YAML 1.1 takes for the number 34, is text."""
        seen: dict[str, int] = {}
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConstructorError(None, None, "a key must be text", key_node.start_mark)
            key, line = key_node.value, key_node.start_mark.line + 1
            if key in seen:
                raise ConstructorError(None, None, f"{printable(key, 60)!r} is given twice, in lines {seen[key]} and {line}", None)
            seen[key] = line
            if UNIT_NAME.fullmatch(key) and key_node.tag == f"{TAG}int":
                key_node.tag = f"{TAG}str"
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Build a value that is plain, is what its tag says, and if it is a number has at most so many digits."""
        tag, kind = printable(node.tag.replace(TAG, "!!"), 60), node.tag.removeprefix(TAG)
        if node.tag not in self.yaml_constructors:
            problem = f"{tag} is no plain value; write text, numbers, true, false, null, lists and mappings"
            raise ConstructorError(None, None, problem, node.start_mark)
        if kind in ("int", "float") and len(node.value) > MOST_DIGITS:
            raise ConstructorError(None, None, f"a number of {len(node.value)} characters", node.start_mark)
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, TypeError):
            raise ConstructorError(None, None, f"{printable(node.value, 60)!r} is no {kind}", node.start_mark) from None

    def _size(self, node: yaml.Node) -> tuple[int, int]:
        pairs = isinstance(node, yaml.MappingNode)
        inner = [child for pair in node.value for child in pair] if pairs else node.value if isinstance(node, yaml.SequenceNode) else []
        sizes = [self._sizes[child] for child in inner]
        return 1 + sum(size for size, _ in sizes), 1 + max((levels for _, levels in sizes), default=-1)


def parse_yaml(text: str, what: str = "this") -> Any:
    """Return the plain values that YAML stands for.

    Args:
        text: one document.
        what: what it is, for the error: "recipe mine.yaml".

    Raises:
        UsageError: if it is not valid YAML, or stands for anything but plain values, for very many, or for a part of itself.
    """
    if len(text) > LONGEST_YAML:
        raise UsageError(f"{what} is not valid YAML for a recipe: it has more than {LONGEST_YAML:,} characters")
    try:
        return yaml.load(text, PlainLoader)
    except yaml.YAMLError as error:
        raise UsageError(f"{what} is not valid YAML: {_describe(error)}") from error
    except (ValueError, OverflowError) as error:  # escapes such as "\\UFFFFFFFF"
        raise UsageError(f"{what} is not valid YAML: text in it has an escape for a character that does not exist") from error


def read_yaml_file(path: Path, what: str) -> str:
    """Return the text of a file of YAML.

    Raises:
        UsageError: if it is no regular file, is too long, cannot be read, or is not in UTF-8.
    """
    if (kind := file_kind(path)) != "file":
        raise UsageError(f"{what} is a {kind}, and no file" if kind else f"{what} does not exist")
    try:
        with path.open("rb") as file:
            content = file.read(LONGEST_YAML + 1)
    except OSError as error:
        raise UsageError(f"{what} cannot be read: {error.strerror}") from error
    if len(content) > LONGEST_YAML:
        raise UsageError(f"{what} is longer than {LONGEST_YAML:,} bytes, and is no recipe")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        looks = "UTF-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "Latin-1 or another encoding"
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{what} is not in UTF-8 but in {looks} (line {line}): save it as UTF-8") from error


def _describe(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    said = [getattr(error, name, None) for name in ("context", "problem")] if isinstance(error, MarkedYAMLError) else [str(error)]
    place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark is not None else ""
    return message_line(f"{', '.join(filter(None, said))}{place}".replace(' in "<unicode string>"', ""))
