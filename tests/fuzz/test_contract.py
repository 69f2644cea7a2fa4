"""Each way in which a reader can break the contract is seen."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from fuzz import contract
from fuzz.contract import Kind, TooLongError, check
from senet.errors import UsageError


def refuse(message: str) -> Callable[[bytes, Path], None]:
    def read(content: bytes, folder: Path) -> None:
        raise UsageError(message)

    return read


def fail(content: bytes, folder: Path) -> None:
    raise KeyError("a")


def hang(content: bytes, folder: Path) -> None:
    while True:
        try:
            while True:
                pass
        except Exception:
            continue


def gorge(content: bytes, folder: Path) -> None:
    assert bytearray(1000 * 2**20)[-1] == 0  # far more than what the process may give back meanwhile


def lack(content: bytes, folder: Path) -> None:
    try:
        bytearray(2**45)
    except MemoryError:
        raise UsageError("damaged") from None


def chatter(content: bytes, folder: Path) -> None:
    for _ in range(10):
        logging.getLogger("senet").warning("oh")


@pytest.mark.parametrize(
    ("read", "error", "words"),
    [
        (refuse("two\nlines"), AssertionError, "two"),
        (refuse("x" * 5000), AssertionError, "x"),
        (fail, KeyError, "a"),
        (hang, TooLongError, None),
        (gorge, AssertionError, "MiB"),
        (lack, AssertionError, "damaged"),
        (chatter, AssertionError, "oh"),
    ],
)
def test_a_breach_is_seen(
    read: Callable[[bytes, Path], None], error: type[BaseException], words: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contract, "LONGEST_WAIT", 1.0)
    kind = Kind(lambda folder: [b"abc"], read, lambda content, draw: content)
    with pytest.raises(error, match=words):
        check(kind, 2, tmp_path)
    check(Kind(lambda folder: [b"abc"], refuse("one line"), lambda content, draw: content), 2, tmp_path)
