import json

import pytest
from rich.console import Console

from made_results import make_result
from senet.measuring.numbers import mean_sd
from senet.results.comparison import Result

TWO = {"plain": [98.15, 97.98, 98.32], "SE": [98.65, 98.58, 98.92]}
FIVE = {"plain": [98.15, 97.98, 98.32], **{f"SE, reduction {r}": [98.0, 98.5, 97.0] for r in (2, 4, 8, 16)}}


def lines(result: Result, width: int) -> str:
    console = Console(width=width, record=True, quiet=False, file=None)
    with console.capture() as capture:
        console.print(result.table())
    return capture.get()


def test_last_epoch_counts_not_the_best() -> None:
    run = make_result(TWO).variants[1].runs[0]
    assert run.top1 == run.history["val_top1"][-1] == 98.65
    assert run.best_top1 == max(run.history["val_top1"]) >= run.top1


def test_dictionary_is_json_and_holds_the_numbers() -> None:
    tree = json.loads(json.dumps(make_result(TWO).to_dict(), allow_nan=False))
    plain, se = tree["variants"]
    assert plain["difference"] is None
    assert se["difference"]["mean"] == pytest.approx(0.5667, abs=1e-4)
    assert se["difference"]["finding"] == "higher"
    assert se["top1"]["by_seed"] == TWO["SE"]
    assert se["cost"]["params_ratio"] == pytest.approx(272_322 / 269_722)
    assert se["cost"]["latency_ratio"]["median"] == pytest.approx(1.08)
    assert [run["seed"] for run in se["runs"]] == [0, 1, 2]
    assert se["excitations"][0]["classes"]["3"]["mean"][0] == pytest.approx(0.475)
    assert tree["summary"].startswith("SE raises top-1")


WIDE = {"plain": [18.29, 93.96], **{f"SE, reduction {r}": [95.47, 89.60] for r in (2, 16)}}


@pytest.mark.parametrize("accuracies", [TWO, FIVE, WIDE], ids=["two", "five", "wide"])
def test_table_fits_a_terminal_of_80_columns(accuracies: dict) -> None:
    text = lines(make_result(accuracies), 80)
    assert "…" not in text
    assert mean_sd(accuracies["plain"]) in text
    assert "baseline" in text


def test_table_of_one_seed_has_no_interval() -> None:
    assert "no interval" in lines(make_result({"plain": [98.0], "SE": [99.0]}), 80)
