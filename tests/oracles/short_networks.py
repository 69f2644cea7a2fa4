"""Networks with one unit of each form, for what takes long to trace."""

from typing import Any

from torch import nn

from senet.models.mobilenet import MobileNet
from senet.models.residual_net import ResidualNet
from senet.models.shufflenet import ShuffleNet
from senet.models.vgg import GRID, VGG, WIDTHS

REPEATING = (ResidualNet, MobileNet, ShuffleNet)
"""Networks whose stages are one unit that changes the map's form, and equal ones that keep it."""

HIDDEN = 8


def shorten(model: Any) -> Any:
    """Cut, in place, a network that repeats units to two in its first stage and one in each other, and a VGG's head to a narrow one."""
    if isinstance(model, REPEATING):
        for number, stage in model.stages.items():
            del stage[2 if number == min(model.stages) else 1 :]  # pyright: ignore[reportIndexIssue]
    if isinstance(model, VGG):
        model.classifier[0] = nn.Linear(WIDTHS[-1] * GRID**2, HIDDEN)
        model.classifier[3] = nn.Linear(HIDDEN, HIDDEN)
        model.classifier[6] = nn.Linear(HIDDEN, model.classifier[6].out_features)
    return model
