"""What a tail is predicted to take on a GPU."""

import json
from pathlib import Path

import pytest
from benchmarks.tail_prediction import MAPS, main, predicted

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(("channels", "side"), MAPS)
def test_time_is_that_of_the_bytes_and_more_and_near_what_was_measured(channels: int, side: int) -> None:
    found, (file,) = predicted(channels, side), (ROOT / "benchmarks" / "results").glob("gpu.*.a2eda3d.json")
    assert found.floor < found.passes < found.whole
    measured = json.loads(file.read_text(encoding="utf-8"))["measures"][f"C{channels} @ {side}"]
    row = "se triton graph"
    assert found.whole == pytest.approx(measured["timings"][row]["median"] / measured["calls"][row], rel=0.1)


def test_larger_maps_hide_small_kernels() -> None:
    shares = [predicted(*of).small / predicted(*of).whole for of in MAPS]
    assert shares == sorted(shares)


def test_prints_each_map(capsys: pytest.CaptureFixture[str]) -> None:
    assert main() == 0
    assert capsys.readouterr().out.count("@") == len(MAPS)
