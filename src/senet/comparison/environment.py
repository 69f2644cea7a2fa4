"""On what the runs of a comparison were made, in the words of the report."""

import json
from collections.abc import Iterable
from typing import Any

from senet.results.run_folder import RunFolder


def environment_of(runs: Iterable[RunFolder]) -> dict[str, str]:
    """Summarise the runs' environment.json; where runs differ, each value is named once.

    Returns:
        date, device, platform and versions.
    """
    found = [json.loads((run.path / "environment.json").read_text(encoding="utf-8")) for run in runs]
    days = sorted(entry["started"][:10] for entry in found)
    return {
        "date": days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}",
        "device": _distinct(_device(entry) for entry in found),
        "platform": _distinct(entry["platform"] for entry in found),
        "python": _distinct(entry["python"] for entry in found),
        **{name: _distinct(entry["packages"].get(name) for entry in found) for name in found[0]["packages"]},
    }


def _device(entry: dict[str, Any]) -> str:
    if entry["accelerator"] == "cpu":
        threads = "1 thread" if entry["threads"] == 1 else f"up to {entry['threads']} threads"
        return f"{entry['device']}, {threads}"
    return f"{entry['processes']} x {entry['device']}" if entry["processes"] > 1 else entry["device"]


def _distinct(values: Iterable[str | None]) -> str:
    return ", ".join(dict.fromkeys(value or "absent" for value in values))
