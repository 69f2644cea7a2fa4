import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from made_results import TOP1, make_result
from senet.errors import UsageError
from senet.measuring.numbers import mean_sd
from senet.results.comparison import Result
from senet.results.metric import Metric

ERROR = Metric("error", "mean absolute error", higher_is_better=False, decimals=4)
OLD = Path(__file__).with_name("classification_without_metrics.json")
"""Written when every task was classification: two runs of one epoch for each of two variants."""

TWO = {"plain": [98.15, 97.98, 98.32], "SE": [98.65, 98.58, 98.92]}
FIVE = {"plain": [98.15, 97.98, 98.32], **{f"SE, reduction {r}": [98.0, 98.5, 97.0] for r in (2, 4, 8, 16)}}


def lines(result: Result, width: int) -> str:
    console = Console(width=width, record=True, quiet=False, file=None)
    with console.capture() as capture:
        console.print(result.table())
    return capture.get()


def test_last_epoch_counts_not_the_best() -> None:
    run = make_result(TWO).variants[1].runs[0]
    assert run.last("val_top1") == run.history["val_top1"][-1] == 98.65
    assert run.best(TOP1) == max(run.history["val_top1"]) >= 98.65
    error = make_result({"plain": [0.2], "SE": [0.1]}, metric=ERROR).variants[1].runs[0]
    assert error.best(ERROR) == min(error.history["val_error"]) == 0.1


def test_dictionary_is_json_and_holds_the_numbers() -> None:
    tree = json.loads(json.dumps(make_result(TWO).to_dict(), allow_nan=False))
    plain, se = tree["variants"]
    assert plain["difference"] is None
    assert se["difference"]["mean"] == pytest.approx(0.5667, abs=1e-4)
    assert se["difference"]["finding"] == "higher"
    assert se["metrics"]["top1"]["by_seed"] == TWO["SE"]
    assert [metric["name"] for metric in tree["metrics"]] == ["top1"]
    assert se["cost"]["params_ratio"] == pytest.approx(272_322 / 269_722)
    assert se["cost"]["latency_ratio"]["median"] == pytest.approx(1.08)
    assert [run["seed"] for run in se["runs"]] == [0, 1, 2]
    assert se["excitations"][0]["classes"]["3"]["mean"][0] == pytest.approx(0.475)
    assert tree["summary"].startswith("SE raises top-1")


WIDE = {"plain": [18.29, 93.96], **{f"SE, reduction {r}": [95.47, 89.60] for r in (2, 16)}}


@pytest.mark.parametrize(
    "result",
    [make_result(TWO), make_result({"plain": [0.2], "SE": [0.1]}, metric=ERROR, classes=())],
    ids=["classification", "an error"],
)
def test_a_result_is_read_as_it_was_written(result: Result, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(result.to_dict()))
    assert Result.read(path) == replace(result, json=path)


def test_a_file_without_metrics_is_classification() -> None:
    old, result = json.loads(OLD.read_text()), Result.read(OLD)
    assert [metric.title for metric in result.metrics] == ["top-1", "top-5"]
    assert result.summary == old["summary"]
    tree = json.loads(json.dumps(result.to_dict()))
    for before, after in zip(old["variants"], tree["variants"], strict=True):
        top1 = after["metrics"].pop("top1")
        assert before.pop("top1") | {"best_epoch": before.pop("best_top1")} == top1
        assert after.pop("metrics").keys() == {"top5"}
        assert before == after
    assert {name: tree[name] for name in old if name not in ("variants", "recipe")} == {
        name: value for name, value in old.items() if name not in ("variants", "recipe")
    }


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"data": {}}'])
def test_another_file_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(text)
    for path in (tmp_path / "x.json", tmp_path / "absent.json"):
        with pytest.raises(UsageError, match=f"{path.name}' is not the result of a comparison; name a result.json"):
            Result.read(path)


@pytest.mark.parametrize("accuracies", [TWO, FIVE, WIDE], ids=["two", "five", "wide"])
def test_table_fits_a_terminal_of_80_columns(accuracies: dict) -> None:
    text = lines(make_result(accuracies), 80)
    assert "…" not in text
    assert mean_sd(accuracies["plain"]) in text
    assert "baseline" in text


def test_table_of_one_seed_has_no_interval() -> None:
    assert "no interval" in lines(make_result({"plain": [98.0], "SE": [99.0]}), 80)


def test_table_speaks_of_the_primary_metric() -> None:
    text = lines(make_result({"plain": [0.2, 0.21], "SE": [0.1, 0.12]}, metric=ERROR), 80)
    assert "0.2050 \u00b1 0.0071" in text
    assert "\u22120.0950" in text
    assert "top-1" not in text


def test_tables_of_parts_survive_the_file(tmp_path: Path) -> None:
    result = make_result({"plain": [88.0, 88.4], "SE": [88.9, 89.4]}, metric=Metric("dice", "Dice", "%"), tables=True)
    (tmp_path / "result.json").write_text(json.dumps(result.to_dict(), allow_nan=False))
    read = Result.read(tmp_path / "result.json")
    assert read.tables == result.tables
    assert read.tables["SE"][1]["class"]["nucleus"] == {"dice": 89.4, "pixels": 12_000}
    assert "tables" not in json.dumps(make_result(TWO).to_dict())
