"""Whether a finished run is what it was when it ended, and was made of what is there today."""

from collections.abc import Mapping
from typing import Any

from senet.errors import UsageError
from senet.results.origin import origin_differences, read_origin
from senet.results.run_folder import RunFolder, format_number
from senet.results.sums import check_sums


def check_records(run: RunFolder) -> None:
    """Raise UsageError if a finished run's records are damaged or do not fit each other: the metrics of each epoch, and its result."""
    check_sums(run.path)
    result, rows = run.result(), run.metrics()
    last, best = (rows[number - 1] if 0 < number <= len(rows) else {} for number in (result.epochs, result.best_epoch))
    if len(rows) != result.epochs or [row.get("epoch") for row in rows] != list(range(1, len(rows) + 1)):
        raise UsageError(f"{run.path / 'metrics.csv'} has not one row for each of the {result.epochs} epochs of result.json")
    wanted = [(last, result.final), (best, {f"val_{name}": value for name, value in result.metrics.items() if f"val_{name}" in best})]
    for row, figures in wanted:
        for name, value in figures.items():
            if name not in row or format_number(row[name]) != format_number(value):
                raise UsageError(f"{run.path / 'metrics.csv'} and result.json differ in {name}")


def check_made_of(run: RunFolder, today: Mapping[str, Any]) -> bool:
    """Return whether a run says what it was made of.

    Raises:
        UsageError: if that is not what `today` says, see `origin_of`.
    """
    before = read_origin(run)
    if before is None:
        return False
    changed = origin_differences(before, today)
    if changed:
        raise UsageError(f"it was made of something else: {'; '.join(changed)}")
    return True
