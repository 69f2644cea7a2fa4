"""Training by one process against several, as it is measured."""

import json
from pathlib import Path

import pytest
from benchmarks import scaling


def test_shares_are_medians_over_rounds_and_the_first_is_the_product_of_the_others() -> None:
    rates = {"alone": [100.0, 200.0], "batch": [80.0, 150.0], "machine": [300.0, 500.0], "together": [200.0, 400.0]}
    for rounds in (slice(1), slice(1, 2)):
        found = scaling.shares({name: values[rounds] for name, values in rates.items()}, 4)
        assert found["efficiency"] == pytest.approx(found["batch"] * found["machine"] * found["together"])
    assert scaling.shares(rates, 4) == pytest.approx(
        {"efficiency": 0.5, "batch": (0.8 + 0.75) / 2, "machine": (300 / 320 + 500 / 600) / 2, "together": (2 / 3 + 4 / 5) / 2}
    )


def test_all_loads_take_so_many_images_a_step_by_so_many_processes() -> None:
    several = [load for name, load in scaling.loads(4, 256).items() if name in ("machine", "together")]
    assert {(load.runs * load.processes, load.runs * load.batch) for load in several} == {(4, 256)}


def test_a_run_that_fails_ends_the_measurement_with_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"data\.batch_size must be at least 1"):
        scaling.Load(1, 1, 0).images_a_second("cpu", tmp_path / "run")


@pytest.mark.slow
def test_rates_of_real_runs_are_written(tmp_path: Path) -> None:
    assert scaling.main(["--batches", "256", "--rounds", "1", "--out", str(tmp_path)]) == 0
    (path,) = tmp_path.iterdir()
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found["shares"]["256 by 2"]["efficiency"] > 0
    assert found["images_a_second"]["256 by 2"].keys() == scaling.loads(2, 256).keys()
