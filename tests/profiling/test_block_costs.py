"""What each block costs by itself."""

import pytest

from senet import create_model
from senet.profiling.profiler import block_costs, profile


@pytest.mark.parametrize("name", ["scse_preresnet20", "cmpe_se_preresnet20"])
def test_costs_of_blocks_add_up_to_the_share_of_a_profile(name: str) -> None:
    model = create_model(name)
    found, whole = block_costs(model, (1, 3, 32, 32)), profile(model, latency=False)
    assert len(found) == 9
    for field in ("params", "macs", "squeeze_adds"):
        assert sum(getattr(cost, field) for cost in found.values()) == getattr(whole.share, field) > 0
