"""What a tail is predicted to take on a GPU."""

import pytest
from benchmarks.tail_prediction import MAPS, main, predicted


@pytest.mark.parametrize(("channels", "side"), MAPS)
def test_time_is_that_of_the_bytes_and_more(channels: int, side: int) -> None:
    found = predicted(channels, side)
    assert found.floor < found.passes < found.whole < 2 * found.floor


def test_larger_maps_hide_small_kernels() -> None:
    shares = [predicted(*of).small / predicted(*of).whole for of in MAPS]
    assert shares == sorted(shares)


def test_prints_each_map(capsys: pytest.CaptureFixture[str]) -> None:
    assert main() == 0
    assert capsys.readouterr().out.count("@") == len(MAPS)
