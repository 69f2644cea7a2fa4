"""Bounds of time that a busy machine does not break: what counts is the time that this process works, not the clock."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import process_time


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Assert that a block takes less than so many seconds of the processor; it may raise."""
    began = process_time()
    try:
        yield
    finally:
        used = process_time() - began
    assert used < seconds, f"{used:.1f} s of the processor, {seconds:g} s are allowed"
