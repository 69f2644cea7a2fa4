"""What holds for every reader of what anybody may have written: it reads, or refuses in one line, soon and in little memory."""

import logging
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from senet.errors import UsageError

MEBIBYTE = 2**20

LONGEST_WAIT = 5.0
"""Seconds of the processor that no input may take."""

MOST_MEMORY = 96 * MEBIBYTE
"""Bytes that reading all inputs of a kind, of a few kilobytes each, may add to the process at any time."""

ADDRESSES = 4 * 1024 * MEBIBYTE
"""Bytes beyond those of this process beyond which nothing is allocated any more, so that a test does not fill the machine."""

LONGEST_LINE = 2000
MOST_REMARKS = 3


@dataclass(frozen=True)
class Kind:
    """Kind of input.

    Args:
        samples: returns valid inputs, given an empty folder.
        read: reads one, in the way that the package does; it may write into the folder.
        change: makes another input of a valid one.
        hostile: inputs made on purpose, to be refused.
        errors: what the reader may raise.
        many: how many inputs the slow test reads.
        memory: bytes that reading all inputs may add to the process at any time.
    """

    samples: Callable[[Path], Sequence[bytes]]
    read: Callable[[bytes, Path], object]
    change: Callable[[bytes, Random], bytes]
    hostile: Sequence[bytes] = ()
    errors: tuple[type[Exception], ...] = (UsageError,)
    many: int = 10_000
    memory: int = MOST_MEMORY


@dataclass
class Outcome:
    """What came of reading many inputs: how many were read and refused, the seconds of the slowest, the most memory in bytes."""

    read: int = 0
    refused: int = 0
    slowest: float = 0.0
    memory: int = 0


class TooLongError(BaseException):
    """End of a read that takes too long; no reader takes it for damage."""


def check(kind: Kind, count: int, folder: Path, seed: int = 0) -> Outcome:
    """Read changed inputs of a kind, and hold each against the contract; the input of a failure is left in the folder."""
    samples, outcome = kind.samples(folder), Outcome()
    with bounded_memory() as peak, remarks() as said:
        for number in range(count):
            draw = Random(f"{seed} {number}")
            _check_one(kind, kind.change(draw.choice(samples), draw), folder, outcome, said, f"seed {seed}, number {number}")
        outcome.memory = peak()
    assert outcome.memory <= kind.memory, f"{outcome.memory / MEBIBYTE:.0f} MiB"
    return outcome


def check_hostile(kind: Kind, content: bytes, folder: Path) -> None:
    """Hold one input that was made on purpose against the contract; it must be refused."""
    kind.samples(folder)
    outcome = Outcome()
    with bounded_memory() as peak, remarks() as said:
        _check_one(kind, content, folder, outcome, said, "made on purpose")
        assert peak() <= kind.memory + 16 * len(content), f"{peak() / MEBIBYTE:.0f} MiB"
    assert outcome.refused == 1


def _check_one(kind: Kind, content: bytes, folder: Path, outcome: Outcome, said: list[str], name: str) -> None:
    began, refusal = time.process_time(), None
    said.clear()
    try:
        with ended_after(LONGEST_WAIT):
            kind.read(content, folder)
    except kind.errors as error:
        refusal = error
    except BaseException as error:
        (folder / "failing").write_bytes(content)
        error.add_note(f"{name}: {folder / 'failing'}")
        raise
    outcome.slowest = max(outcome.slowest, time.process_time() - began)
    outcome.read += refusal is None
    outcome.refused += refusal is not None
    for line in (*said, *([] if refusal is None else [str(refusal)])):
        assert line.isprintable(), (name, line)
        assert len(line) <= LONGEST_LINE, (name, line[:LONGEST_LINE])
    assert len(said) <= MOST_REMARKS, (name, said)
    assert not any(map(is_lack_of_memory, causes(refusal))), (name, refusal)


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, and what it came of."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def is_lack_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or "allocate memory" in str(error)


@contextmanager
def ended_after(seconds: float) -> Iterator[None]:
    """Raise TooLongError in a block that takes so many seconds of the processor, or ten times as many of the clock."""

    def end(*_: Any) -> None:
        raise TooLongError

    before = {sign: signal.signal(sign, end) for sign in (signal.SIGPROF, signal.SIGALRM)}
    try:
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.setitimer(signal.ITIMER_REAL, 10 * seconds)
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for sign, handler in before.items():
            signal.signal(sign, handler)


@contextmanager
def bounded_memory() -> Iterator[Callable[[], int]]:
    """Bound the addresses of this process while a block runs; yield what returns the most bytes of memory it has had more than before."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # Linux: the peak begins anew
    before, limits = _kibibytes("VmRSS"), resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (1024 * _kibibytes("VmSize") + ADDRESSES, limits[1]))
    try:
        yield lambda: 1024 * (_kibibytes("VmHWM") - before)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def _kibibytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


@contextmanager
def remarks() -> Iterator[list[str]]:
    """Yield a list of what the package logs while a block runs."""
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    log = logging.getLogger("senet")
    log.addHandler(handler)
    try:
        yield said
    finally:
        log.removeHandler(handler)


def written(folder: Path, name: str, content: bytes) -> Path:
    """Write a file in place of an older one, and return its path."""
    path = folder / name
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    return path
