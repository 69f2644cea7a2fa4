"""What blocks are predicted to cost in inference: counted from the network itself."""

from pathlib import Path

import pytest
from benchmarks.inference_costs import NETWORKS, extras, rows, seconds

DOCS = Path(__file__).parents[1] / "docs" / "optimize.md"


def test_a_bottleneck_reads_no_map_more() -> None:
    found = list(extras("se_resnet50"))
    assert len(found) == 16
    assert {(extra.launches, extra.maps) for extra in found} == {(0, 0)}
    assert found[-1].squeezed == (512, 49, 128)
    assert found[-1].rescaled == (2048, 49, 128)
    assert 0 < seconds(found, 1) < seconds(found, 256)


def test_a_basic_block_reads_its_output() -> None:
    found = list(extras("se_resnet18"))
    assert [extra.launches for extra in found] == [1] * 8
    assert sum(extra.maps for extra in found) == 2 * 2 * (64 * 56**2 + 128 * 28**2 + 256 * 14**2 + 512 * 7**2)


@pytest.mark.slow
def test_the_page_has_the_figures() -> None:
    written = DOCS.read_text()
    assert all("| " + " | ".join(row) + " |" in written for row in rows(NETWORKS))
