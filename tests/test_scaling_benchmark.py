"""Training by one process against several, as it is measured."""

import json
from pathlib import Path

import pytest
from benchmarks import scaling


def test_efficiency_is_the_median_over_rounds_of_the_share_of_so_many_times_the_rate_of_one() -> None:
    rates = {"1": [100.0, 200.0, 100.0], "2": [150.0, 400.0, 190.0], "4": [200.0, 400.0, 200.0]}
    assert scaling.efficiencies(rates) == {"1": 1.0, "2": 0.95, "4": 0.5}


def test_a_run_that_fails_ends_the_measurement_with_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"data\.batch_size 0"):
        scaling.images_a_second(1, 0, "cpu", tmp_path / "run")


@pytest.mark.slow
def test_rates_of_real_runs_are_written(tmp_path: Path) -> None:
    assert scaling.main(["--batches", "256", "--rounds", "1", "--out", str(tmp_path)]) == 0
    (path,) = tmp_path.iterdir()
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found["efficiency"]["256"]["2"] > 0
    assert found["images_a_second"]["256"].keys() == {"1", "2"}
