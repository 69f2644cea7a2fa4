"""Tables of parts of the images: over seeds, in the terminal, in files."""

import json
from pathlib import Path

import pytest

from senet.errors import UsageError
from senet.measuring.paired import paired_difference
from senet.results.metric import Metric
from senet.results.run_folder import RunFolder
from senet.results.tables import cells_of, columns_of, compared_tables, terminal_tables
from senet.terminal import as_text

DICE = Metric("dice", "mean Dice", "%")


def tables(small: float | None, large: float) -> dict:
    return {"region size": {"small": {"pixels": 1200, "dice": small, "iou": 0.5}, "large": {"pixels": 34_000, "dice": large, "iou": 0.75}}}


RUNS = {
    "plain": [tables(50.0, 80.0), tables(52.0, 81.0), tables(51.0, 82.0)],
    "cSE": [tables(47.0, 83.0), tables(50.5, 83.5), tables(None, 84.0)],
}


def test_one_evaluation_in_the_terminal() -> None:
    (table,) = terminal_tables({"class": {"nucleus": {"pixels": 1234, "dice": 91.234, "border_f": None}}}, [DICE])
    text = as_text(table, 80)
    for words in ("class", "mean Dice %", "border f", "1,234", "91.23", "\N{EN DASH}"):
        assert words in text


def test_columns_are_figures_and_counts_describe_the_row() -> None:
    other = {"class": {"a": {"pixels": 3, "dice": None, "up to": None}, "b": {"up to": 9, "dice": 2.5}}, "none": {"a": {"dice": None}}}
    assert columns_of([tables(1.0, 2.0), other]) == {"region size": ("dice", "iou"), "class": ("dice",)}
    small, large = cells_of(RUNS, "region size", "dice")
    assert (small.row, small.described, large.row) == ("small", "pixels 1,200", "large")
    assert large.values == {"plain": (80.0, 81.0, 82.0), "cSE": (83.0, 83.5, 84.0)}
    assert large.difference("cSE", "plain") == paired_difference([83.0, 83.5, 84.0], [80.0, 81.0, 82.0])


def test_a_figure_that_a_run_lacks_gives_no_mean() -> None:
    small, _ = cells_of(RUNS, "region size", "dice")
    assert small.values == {"plain": (50.0, 52.0, 51.0), "cSE": ()}
    assert small.difference("cSE", "plain") is None


def test_a_row_that_some_runs_lack_is_shown_all_the_same() -> None:
    cells = cells_of({"plain": [{"class": {"a": {"dice": 1.0}}}], "SE": [{"class": {"b": {"dice": 2.0}}}]}, "class", "dice")
    assert [(cell.row, cell.values) for cell in cells] == [("a", {"plain": (1.0,), "SE": ()}), ("b", {"plain": (), "SE": (2.0,)})]


def test_a_comparison_in_the_terminal() -> None:
    (table,) = compared_tables(RUNS, [DICE])
    text = as_text(table, 100)
    for words in ("mean Dice % by region size", "81.00 ± 1.00", "83.50 ± 0.50", "+2.50 (+1.26 to +3.74)", "51.00 ± 1.00", "\N{EN DASH}"):
        assert words in text
    assert compared_tables({"plain": [{}], "SE": [{}]}, [DICE]) == []


def test_a_comparison_of_many_variants_fits_a_terminal() -> None:
    labels = ("plain", "SE", "sSE", "scSE", "CMPE-SE")
    runs = {label: [{"region size": {"small": {"dice": 9.0 * seed * place}}} for seed in range(3)] for place, label in enumerate(labels)}
    lines = as_text(compared_tables(runs, [DICE])[0], 80).splitlines()
    assert not any("\N{HORIZONTAL ELLIPSIS}" in line for line in lines)
    assert [line.split()[0] for line in lines[-len(labels) :]] == ["small", *labels[1:]]


def test_file_keeps_the_best_epoch_and_the_last(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert run.tables() == {}
    empty = {"epoch": 1, "tables": {}}
    run.write_tables(empty, empty)
    assert list(tmp_path.iterdir()) == []
    second, third = ({"epoch": epoch, "tables": tables(float(epoch), 0.0)} for epoch in (2, 3))
    run.write_tables(second, third)
    assert run.tables() == third["tables"]
    assert json.loads((tmp_path / "tables.json").read_text()) == {"best": second, "last": third}
    run.write_tables(None, third)  # of a checkpoint that does not know
    assert json.loads((tmp_path / "tables.json").read_text()) == {"best": second, "last": third}
    (tmp_path / "tables.json").unlink()
    run.write_tables(None, third)
    assert json.loads((tmp_path / "tables.json").read_text()) == {"best": third, "last": third}


def test_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "tables.json").write_text('{"best": {"epoch": 1, "tables": {}}, "last": {"epoch": 1, "tables": {"class": {"a": "high"}}}}')
    with pytest.raises(UsageError, match=r"tables\.json: last\.tables\.class\.a: expected a mapping"):
        RunFolder(tmp_path).tables()
