"""Memory, open files and threads of one process that trains for long, and whether they grow."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

ALLOWED = {"rss_mb": 0.05, "files": 0.0, "threads": 0.0}
"""By what share the median of the last third may be above that of the second; in the first, memory is warming up."""

LEAST = 30
"""Looks from which on growth can be told."""


def usage(pid: int) -> dict[str, float]:
    """Return what a process holds: resident memory in MB, open files, threads.

    Raises:
        OSError: if it has ended.
    """
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {
        "rss_mb": int(status["VmRSS"].split()[0]) / 1000,
        "files": len(list(Path(f"/proc/{pid}/fd").iterdir())),
        "threads": int(status["Threads"]),
    }


def growth(rows: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Return of each quantity the medians of the second and the last third, its slope an hour over both, and whether it is flat.

    Of too few rows nothing is told.

    Args:
        rows: what `usage` returned, with "seconds".
    """
    if len(rows) < LEAST:
        return {}
    third = len(rows) // 3
    second, last = rows[third : 2 * third], rows[2 * third :]
    found = {}
    for name, share in ALLOWED.items():
        before, after = (median(row[name] for row in part) for part in (second, last))
        hours = np.array([row["seconds"] / 3600 for row in rows[third:]])
        slope = float(np.polyfit(hours, [row[name] for row in rows[third:]], 1)[0])
        found[name] = {"second_third": before, "last_third": after, "an_hour": round(slope, 3), "flat": after <= before * (1 + share)}
    return found
