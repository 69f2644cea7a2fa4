"""Blocks that wrap children of a unit with a rewritten forward are optimised as they are elsewhere."""

import torch
from torch import Tensor, nn

import senet


class Unit(nn.Module):
    """A residual unit with a functional shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2, self.norm2 = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.norm2(self.conv2(self.norm1(self.conv1(x)).relu())))


def test_both_blocks_of_a_unit_are_optimised() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Conv2d(3, 8, 1), Unit()).eval(), torch.randn(2, 3, 8, 8)
    senet.insert(model, placement="identity")
    senet.insert(model, existing="add")
    optimized = senet.optimize(model)
    torch.testing.assert_close(optimized(x), model(x))
    fused = {row.path: row.fused for row in optimized.report.rows}  # pyright: ignore[reportAttributeAccessIssue, reportGeneralTypeIssues]
    assert fused.keys() == {"1.conv1", "1.conv2", "1.se"}
    assert any("SE" in part for part in fused["1.conv2"])
    senet.remove(model)
    assert type(model[1].norm2) is nn.BatchNorm2d
