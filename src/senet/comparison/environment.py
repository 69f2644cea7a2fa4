"""On what the runs of a comparison were made, in the words of the report."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from senet.errors import UsageError
from senet.results.run_folder import RunFolder
from senet.schema import integer, optional, plain_data, read_json, record, table, text

_WORDS, _COUNT = text(1000), integer(1, 10**6)
_FIELDS = {
    **dict.fromkeys(("started", "python", "platform", "device", "accelerator"), _WORDS),
    **dict.fromkeys(("processes", "threads"), _COUNT),
    "packages": table(text(100), optional(text(100))),
}
ENVIRONMENT = record(_FIELDS, needed=tuple(_FIELDS), others=plain_data())
"""The rule for an environment.json as plain data."""


def environment_of(runs: Iterable[RunFolder]) -> dict[str, str]:
    """Summarise the runs' environment.json; where runs differ, each value is named once.

    Returns:
        date, device, platform and versions; and, if any but the date is not the same in all runs, which: "differs".
    """
    found = [_read(run.path / "environment.json") for run in runs]
    days = sorted(entry["started"][:10] for entry in found)
    values = {
        "device": [_device(entry) for entry in found],
        "platform": [entry["platform"] for entry in found],
        "python": [entry["python"] for entry in found],
        **{name: [entry["packages"].get(name) for entry in found] for name in found[0]["packages"]},
    }
    differs = ", ".join(name for name, of_runs in values.items() if len(set(of_runs)) > 1)
    return {
        "date": days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}",
        **{name: _distinct(of_runs) for name, of_runs in values.items()},
        **({"differs": f"{differs}: not the same in all runs"} if differs else {}),
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_json(path.read_bytes(), str(path), ENVIRONMENT)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error


def _device(entry: dict[str, Any]) -> str:
    if entry["accelerator"] == "cpu":
        threads = "1 thread" if entry["threads"] == 1 else f"up to {entry['threads']} threads"
        return f"{entry['device']}, {threads}"
    return f"{entry['processes']} x {entry['device']}" if entry["processes"] > 1 else entry["device"]


def _distinct(values: Iterable[str | None]) -> str:
    return ", ".join(dict.fromkeys(value or "absent" for value in values))
