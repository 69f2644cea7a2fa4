"""A function in a process of its own, forked so that it begins at once, whose end may be violent."""

import io
import multiprocessing
import os
import sys
import traceback
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

from process_ends import SECONDS


def fork(work: Callable[[], object], told: Path) -> BaseProcess:
    """Begin a function in a process of its own; what it writes to stderr goes to the file `told`."""

    def run() -> None:
        os.dup2(os.open(told, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), 2)
        take_stderr()
        code = 99
        try:
            code = int(work() or 0)  # pyright: ignore[reportArgumentType] - an exit code, or nothing
        except BaseException:
            with told.open("a") as file:
                traceback.print_exc(file=file)
        finally:
            os._exit(code)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    return process


def take_stderr() -> None:
    """Write to the process's own stderr, in one that was forked from a test, where it is pytest's."""
    sys.stderr = io.TextIOWrapper(os.fdopen(2, "wb", 0, closefd=False), write_through=True)


def code_of(process: BaseProcess, seconds: float = SECONDS) -> int:
    """Wait for the end of a process; return its exit code, which is negative for a signal."""
    process.join(seconds)
    assert process.exitcode is not None, "it has not ended"
    return process.exitcode
