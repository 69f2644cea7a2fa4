"""The folder of a run: which file is called what, and what it says. No torch."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from senet.atomic import check_no_folders, temporaries, write_text
from senet.errors import UsageError
from senet.jsontext import json_text
from senet.measuring.numbers import with_unit
from senet.recipe import NO_EFFECT, Recipe, check_code_of, load_recipe, recipe_files
from senet.recipe.difference import field_differences
from senet.results.run import RUN_RESULT, RunResult
from senet.results.run_lock import HOLDER, LOCK, PATIENCE, FolderLostError, check_held, only_process
from senet.results.sums import SUMS, write_sums
from senet.results.tables import EPOCH_TABLES, Tables
from senet.schema import read_json
from senet.weights.loaded import BEST_WEIGHTS

COUNTS = frozenset({"epoch", "step", "corrupt", "skipped"})
"""Columns of metrics.csv that hold whole numbers: `epoch` and `step` say how many are done, `corrupt` and `skipped` count the
unreadable images and the steps that were left out so far.
Beside them stand `lr`, the epoch's last rate; `seconds`, which covers training and validation; `images_per_second` of training alone; and
the task's: `train_<name>` and `val_<name>` for the loss and each metric."""

FILES = (
    *("recipe.yaml", "environment.json", "origin.json", "metrics.csv", "last.ckpt", "previous.ckpt", BEST_WEIGHTS, "result.json"),
    *("tables.json", HOLDER, SUMS),
)
"""Files that training writes."""

SUMMED = ("environment.json", "origin.json", "metrics.csv", "tables.json")
"""Files, beside its result, of which a finished run keeps the checksums."""

ACCEPT = "--accept-changes (in Python: accept_changes=True)"
"""What a user says who wants to go on although something is not as it was."""

MetricsRow = Mapping[str, float]


@dataclass(frozen=True)
class RunFolder:
    """Files of one run.

    Args:
        path: the folder; it need not exist yet.
    """

    path: Path

    @classmethod
    def at(cls, path: str | Path) -> "RunFolder":
        """Return the run's folder at a path."""
        return cls(Path(path))

    @staticmethod
    def weights_of(source: str | Path) -> str | Path:
        """Return a source of weights as it is, and for a run's folder its best weights."""
        return RunFolder(Path(source)).weights if Path(source).is_dir() else source

    @property
    def checkpoint(self) -> Path:
        """All that a resumed run needs."""
        return self.path / "last.ckpt"

    @property
    def previous(self) -> Path:
        """The checkpoint before that one."""
        return self.path / "previous.ckpt"

    @property
    def weights(self) -> Path:
        """The best weights so far, by the task's primary metric on the validation images."""
        return self.path / BEST_WEIGHTS

    @contextmanager
    def held(self, patience: float = PATIENCE) -> Iterator[None]:
        """Let no other process train here while the block runs, and remove what one that was killed left half written.

        Args:
            patience: seconds to wait for another process to end.

        Raises:
            HeldError: if another process trains here.
            UsageError: if nothing can be written, or a folder stands where a file is to be written.
        """
        check_no_folders(*(self.path / name for name in (LOCK, *FILES)))
        with only_process(self.path, patience):
            for left in temporaries(self.path, FILES):
                left.unlink(missing_ok=True)
            yield

    def check_there(self) -> None:
        """Raise FolderLostError if the folder, which this process holds, was removed, or another process has taken it."""
        if not self.exists():
            raise FolderLostError(
                f"{str(self.path)!r} was removed, or its {self._recipe.name}, while it was trained: nothing more can be saved there; "
                "put it back from a copy and --resume it, or train it from its start"
            )
        check_held(self.path)

    def is_empty(self) -> bool:
        """Return whether nothing but what a killed process leaves is in the folder, or there is none."""
        if not self.path.is_dir():
            return not self.path.exists()
        left = {path.name for path in temporaries(self.path, FILES)} | {LOCK, HOLDER}
        return all(entry.name in left for entry in self.path.iterdir())

    def exists(self) -> bool:
        """Return whether a run was ever begun here."""
        return self._recipe.is_file()

    def has_checkpoint(self) -> bool:
        """Return whether there is something to go on from, be it damaged."""
        return self.checkpoint.exists() or self.previous.exists()

    def is_finished(self) -> bool:
        """Return whether the run here came to its end."""
        return self._result.is_file()

    def recipe(self) -> Recipe:
        """Return the recipe as it was resolved.

        Raises:
            UsageError: if this is no run's folder.
        """
        if not self.exists():
            raise UsageError(f"{str(self.path)!r} is not the folder of a run: it has no {self._recipe.name}")
        return load_recipe(self._recipe, only_read=True)

    def check_code(self, given: Iterable[str] = ()) -> None:
        """Raise UsageError if the run's recipe, which is to be followed, names code that lies elsewhere; `given` fields are set by hand."""
        check_code_of(recipe_files(self._recipe), given)

    def metrics(self) -> list[dict[str, float]]:
        """Return the rows of metrics.csv, one per finished epoch.

        Raises:
            UsageError: if it holds anything but numbers below names.
        """
        if not self._metrics.is_file():
            return []
        rows: list[dict[str, float]] = []
        try:
            with self._metrics.open(encoding="utf-8", newline="") as file:
                for row in csv.DictReader(file, strict=True):
                    rows.append({name: int(value) if name in COUNTS else float(value) for name, value in row.items()})  # noqa: PERF401
        except (OSError, ValueError, TypeError, csv.Error) as error:
            raise UsageError(f"{self._metrics} is damaged: line {len(rows) + 2} is no row of numbers, one below each name") from error
        return rows

    def result(self) -> RunResult:
        """Return the outcome of a finished run; its folder is this one, wherever it was when it ran.

        Raises:
            UsageError: if result.json is damaged.
        """
        where = f"{self._result} is damaged (remove it, and --resume writes it again)"
        tree = read_json(self._result.read_bytes(), where, RUN_RESULT)
        return replace(RunResult.from_dict(tree, where), folder=self.path)

    def begin(self, recipe: Recipe, environment: Mapping[str, Any]) -> None:
        """Write what is known before the first step."""
        write_text(self._recipe, recipe.to_yaml())
        write_text(self.path / "environment.json", json_text(environment) + "\n")

    def write_metrics(self, rows: Sequence[MetricsRow]) -> None:
        """Write metrics.csv anew: resuming from an older checkpoint cannot leave rows of epochs that are trained again.

        Args:
            rows: one an epoch; the columns are those of the first.
        """
        lines = [",".join(rows[0]), *(",".join(format_number(row[name]) for name in rows[0]) for row in rows)]
        write_text(self._metrics, "\n".join(lines) + "\n")

    def write_tables(self, best: Mapping[str, Any] | None, last: Mapping[str, Any]) -> None:
        """Write tables.json anew, as metrics.csv; without tables there is no such file.

        Args:
            best: "epoch" and "tables", what the task told after the best epoch; None = unknown, of a checkpoint that does not hold it:
                what the file says stays.
            last: the same of the last epoch.
        """
        if not last["tables"]:
            return
        before = read_json(self._tables.read_bytes(), str(self._tables), EPOCH_TABLES) if self._tables.is_file() and best is None else {}
        write_text(self._tables, json_text({"best": best or before.get("best", last), "last": last}) + "\n")

    def tables(self) -> Tables:
        """Return what the task told after the last epoch; nothing if it tells nothing, or the run is of an earlier version.

        Raises:
            UsageError: if tables.json is damaged.
        """
        if not self._tables.is_file():
            return {}
        return read_json(self._tables.read_bytes(), str(self._tables), EPOCH_TABLES)["last"]["tables"]

    def finish(self, result: RunResult) -> None:
        """Mark the run as finished; the checkpoint before the last one is of no more use."""
        text = json_text(result.to_dict()) + "\n"
        others = [self.path / name for name in SUMMED if (self.path / name).is_file()]
        write_sums(self.path, {path.name: path.read_bytes() for path in others} | {self._result.name: text.encode()})
        write_text(self._result, text)
        self.previous.unlink(missing_ok=True)

    def reopen(self) -> None:
        """Make a finished run one that can go on; others stay as they are."""
        for path in (self._result, self.path / SUMS):
            path.unlink(missing_ok=True)

    @property
    def _recipe(self) -> Path:
        return self.path / "recipe.yaml"

    @property
    def _metrics(self) -> Path:
        return self.path / "metrics.csv"

    @property
    def _tables(self) -> Path:
        return self.path / "tables.json"

    @property
    def _result(self) -> Path:
        return self.path / "result.json"


def place_of_run(recipe: Recipe, out: str | Path, folder: str | Path | None) -> RunFolder:
    """Return where a recipe's run lies: in `folder`, or in one below `out` that the recipe's name and digest name."""
    return RunFolder(Path(folder) if folder is not None else Path(out) / f"{recipe.name}-{recipe.digest()}")


def new_run(recipe: Recipe, out: str | Path, folder: str | Path | None) -> RunFolder:
    """Return the folder for a new run, see `place_of_run`.

    Raises:
        UsageError: if there is a run in it already, or anything else.
    """
    run = place_of_run(recipe, out, folder)
    check_new(run)
    return run


def check_new(run: RunFolder) -> None:
    """Raise UsageError if there is a run in a folder already, or anything else."""
    if run.is_finished():
        raise UsageError(f"{str(run.path)!r} holds a finished run; name another folder with --folder, or remove it to train again")
    if run.has_checkpoint():
        raise UsageError(f"{str(run.path)!r} holds an unfinished run; go on with --resume {run.path}, or name another with --folder")
    if not run.is_empty() and not run.exists():  # in this order: another process may begin a run in between
        raise UsageError(f"{str(run.path)!r} is taken by something else than a run; name another folder with --folder")


def resumed_run(folder: str | Path, recipe: Recipe | None, *, accept_changes: bool = False) -> tuple[RunFolder, Recipe]:
    """Return an unfinished run's folder and its recipe, with what may change between sessions taken from `recipe`.

    Args:
        folder: the run's folder.
        recipe: what is asked for; None = the run's own.
        accept_changes: whether it may differ in more, and a finished run may be trained longer.

    Raises:
        UsageError: if there is no run, it is finished, or `recipe` would train other weights.
    """
    run = RunFolder(Path(folder))
    saved = run.recipe()
    if run.is_finished() and not (accept_changes and recipe is not None and recipe.training.epochs > run.result().epochs):
        result = run.result()
        primary = result.about[0]
        reached = f"{primary.title} {with_unit(result.metrics[primary.name], primary.unit, primary.decimals)}"
        raise UsageError(
            f"the run in {str(folder)!r} is finished: {result.epochs} epochs, {reached}; nothing to resume "
            f"(to train it longer: --resume {folder} --epochs N --accept-changes)"
        )
    if recipe is None:
        run.check_code()
        return run, saved
    if recipe.digest() != saved.digest() and not accept_changes:
        free = [f"{section}.{name}".lstrip(".") for section, name in NO_EFFECT]
        differences = [path for path, *_ in field_differences(saved.to_dict(), recipe.to_dict())]
        changed = [name for name in differences if name not in free] or differences  # a folder of images counts by its place
        allowed = ", ".join(name for name in free if name not in changed)
        raise UsageError(
            f"{str(folder)!r} was begun with another {', '.join(changed)}; a resumed run may only change {allowed}, unless you add {ACCEPT}"
        )
    return run, recipe


def format_number(value: float) -> str:
    """Write a figure as metrics.csv has it."""
    return str(value) if isinstance(value, int) else f"{value:.8g}"
