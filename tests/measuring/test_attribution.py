"""Readings are charged to the innermost part that ran, and no hook stays behind."""

import pytest
from torch import nn

from senet.measuring.attribution import growth_by_part, record_readings


def test_a_reading_belongs_to_the_part_that_ran():
    clock = 0.0

    class Takes(nn.Module):
        def __init__(self, seconds, *inside):
            super().__init__()
            self.seconds, self.inside = seconds, nn.Sequential(*inside)

        def forward(self, x):
            nonlocal clock
            clock += self.seconds
            return self.inside(x)

    model = Takes(1.0, Takes(2.0, Takes(4.0)), Takes(8.0))
    log = record_readings(lambda: model(0), model, ["inside.0", "inside.0.inside.0"], lambda: clock)
    assert growth_by_part(log) == {"": 9.0, "inside.0": 2.0, "inside.0.inside.0": 4.0}


def test_hooks_are_gone_even_after_a_failure():
    class Fails(nn.Module):
        def forward(self, x):
            raise RuntimeError("no")

    model = nn.Sequential(nn.Identity(), Fails())
    with pytest.raises(RuntimeError, match="no"):
        record_readings(lambda: model(0), model, ["0", "1"], lambda: 0.0)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
