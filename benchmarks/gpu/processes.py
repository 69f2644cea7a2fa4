"""Parts in processes of their own, which may crash, hang, or run out of time without harm to the others."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

ROOT = Path(__file__).parents[2]
LEFT = 1500
"""Characters of what a failed process said last."""


def run_here(words: Sequence[str], seconds: float, environment: Mapping[str, str]) -> dict[str, Any]:
    """Run `python -m benchmarks.gpu` with some words; after so many seconds it is killed with all that it has started.

    Returns:
        its exit code (None: killed), seconds, and if it failed what it said last.
    """
    began = time.monotonic()
    command = [sys.executable, "-m", "benchmarks.gpu", *words]
    with TemporaryFile() as output:  # not a pipe, which a process that is left behind would hold open
        process = subprocess.Popen(command, cwd=ROOT, env=dict(environment), stdout=output, stderr=subprocess.STDOUT, process_group=0)
        code: int | None = None
        try:
            code = process.wait(timeout=max(1.0, seconds))
        except subprocess.TimeoutExpired:
            pass
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(0)
        said = output.read().decode(errors="replace")
    took = round(time.monotonic() - began, 1)
    return {"exit_code": code, "seconds": took, **({} if code == 0 else {"said": said[-LEFT:]})}
