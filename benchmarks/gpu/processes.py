"""Parts in processes of their own, which may crash, hang, or run out of time without harm to the others."""

import os
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

ROOT = Path(__file__).parents[2]
LEFT = 1500
"""Characters of what a failed process said last."""


@dataclass(frozen=True)
class Started:
    """Process of `python -m benchmarks.gpu` that does its work when it is told to, by a line.

    Args:
        process: the process, leader of a group.
        go: where the line is written.
        output: what it says: not a pipe, which a process that is left behind would hold open.
    """

    process: subprocess.Popen[bytes]
    go: IO[bytes]
    output: IO[bytes]

    def finish(self, seconds: float) -> dict[str, Any]:
        """Have it work, and kill it after so many seconds with all that it has started.

        Returns:
            its exit code (None: killed), seconds, and if it failed what it said last.
        """
        began, code = time.monotonic(), None
        with suppress(BrokenPipeError):
            self.go.write(b"\n")
            self.go.flush()
        with suppress(subprocess.TimeoutExpired):
            code = self.process.wait(timeout=max(1.0, seconds))
        said = self.end()
        return {"exit_code": code, "seconds": round(time.monotonic() - began, 1), **({} if code == 0 else {"said": said[-LEFT:]})}

    def end(self) -> str:
        """Kill it with all that it has started, and return what it said."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        with suppress(BrokenPipeError):
            self.go.close()
        with self.output:
            self.output.seek(0)
            return without_places(self.output.read().decode(errors="replace"))


def without_places(text: str) -> str:
    """Return text whose paths begin at the checkout or at the installed packages: results are committed, machines' folders are not."""
    for place in (sysconfig.get_path("purelib"), str(ROOT)):
        text = text.replace(f"{place}{os.sep}", "")
    return text


def start(words: Sequence[str], environment: Mapping[str, str]) -> Started:
    """Start `python -m benchmarks.gpu` with some words."""
    output: IO[bytes] = TemporaryFile()  # noqa: SIM115  # closed by `end`
    process: subprocess.Popen[bytes] = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.gpu", *words],
        cwd=ROOT,
        env=dict(environment),
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT,
        process_group=0,
    )
    assert process.stdin is not None
    return Started(process, process.stdin, output)


def run_here(words: Sequence[str], seconds: float, environment: Mapping[str, str]) -> dict[str, Any]:
    """Start a process and have it work at once, see `Started.finish`."""
    return start(words, environment).finish(seconds)
