"""Memory is as tensors have it."""

import torch
from torch import nn

from senet.benchmarking.memory import memory_of
from senet.measuring.steps import TrainingStep


class Squares(nn.Module):
    """The function (weight * x)^2, which keeps x, the weight and the product."""

    def __init__(self, length: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(length))

    def forward(self, x):
        return (self.weight * x).square()


def test_memory_is_that_of_the_tensors():
    length = 250_000
    step = TrainingStep(Squares(length), (torch.ones(length),), lambda output: output, torch.ones(length))
    step()
    found = memory_of(step)
    bytes_ = 4 * length
    assert found.saved == 2 * bytes_  # x and the product; the parameter is not counted
    assert 3 * bytes_ < found.peak <= 5 * bytes_  # two maps forward, up to three backward
