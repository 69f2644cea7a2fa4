"""Changes that data suffer, or that somebody makes on purpose: to bytes, to text, and to plain data."""

import json
import random
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any

ODD = (None, True, -1, 0, 10**30, 0.5, float("nan"), float("inf"), "", "x", [], [[]], {})
"""Values of every type of plain data, of which few are right anywhere."""


def places(tree: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the place of every value in plain data, containers too."""
    yield place
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield from places(value, (*place, key))


def with_value(tree: Any, place: tuple[Any, ...], value: Any) -> Any:
    """Return a copy of plain data with the value at a place replaced."""
    if not place:
        return value
    copy = json.loads(json.dumps(tree))
    parent = copy
    for key in place[:-1]:
        parent = parent[key]
    parent[place[-1]] = value
    return copy


def flip(data: bytearray, draw: random.Random) -> None:
    for _ in range(draw.choice((1, 1, 2, 8))):
        data[draw.randrange(len(data))] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))


def flip_ends(data: bytearray, draw: random.Random) -> None:
    """Change bytes at the beginning or the end, where most formats say what they hold."""
    for _ in range(draw.choice((1, 2, 4))):
        data[draw.choice((draw.randrange(min(64, len(data))), -1 - draw.randrange(min(300, len(data)))))] = draw.randrange(256)


def cut(data: bytearray, draw: random.Random) -> None:
    del data[draw.randrange(len(data)) :]


def remove(data: bytearray, draw: random.Random) -> None:
    start = draw.randrange(len(data))
    del data[start : start + draw.choice((1, 4, 50))]


def repeat(data: bytearray, draw: random.Random) -> None:
    start = draw.randrange(len(data))
    data[start:start] = data[start : start + draw.choice((1, 4, 50))] * draw.choice((1, 3))


def enlarge(data: bytearray, draw: random.Random) -> None:
    """Write a number where a size may be."""
    start = draw.randrange(len(data))
    form = draw.choice(("<I", ">I", "<Q", "<H"))
    number = draw.choice((0, 1, 65535, 2**16, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1)) & 2 ** (8 * struct.calcsize(form)) - 1
    data[start : start + struct.calcsize(form)] = struct.pack(form, number)


def splice(data: bytearray, draw: random.Random) -> None:
    start, place = draw.randrange(len(data)), draw.randrange(len(data))
    data[place:place] = draw.choice((data[start : start + draw.randrange(64)], draw.randbytes(draw.randrange(8))))


BYTE_CHANGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    *(flip, flip, flip_ends, cut, remove, repeat, enlarge, enlarge, splice),
)


def changed_bytes(content: bytes, draw: random.Random) -> bytes:
    """Return bytes with one to three changes."""
    data = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 3))):
        if data:
            draw.choice(BYTE_CHANGES)(data, draw)
    return bytes(data)


def changed_text(content: bytes, draw: random.Random, words: Sequence[bytes]) -> bytes:
    """Return text with pieces replaced, removed, repeated and turned around, or with words of its language put in."""
    for _ in range(draw.randint(1, 4)):
        start = draw.randint(0, len(content))
        piece = content[start : start + draw.choice((1, 5, 50, 1000))]
        other = draw.choice((draw.choice(words), draw.choice(words) + piece, piece * 2, piece[::-1], b""))
        content = content[:start] + other + content[start + len(piece) :]
    return content


def changed_tree(tree: Any, draw: random.Random, odd: Sequence[Any] = ODD) -> Any:
    """Return plain data with one to three values replaced, by odd ones or others of their own, left out, or moved to another key."""
    for _ in range(draw.randint(1, 3)):
        place = draw.choice(list(places(tree)))
        value = draw.choice(odd)
        if draw.random() < 0.3:
            value = tree
            for key in draw.choice(list(places(tree))):
                value = value[key]
        tree = with_value(tree, place, value)
        if place and draw.random() < 0.3:
            parent = tree
            for key in place[:-1]:
                parent = parent[key]
            moved = parent.pop(place[-1])
            if isinstance(parent, dict) and draw.random() < 0.5:
                parent[draw.choice(("name", "x", "", "id", "__class__"))] = moved
    return tree
