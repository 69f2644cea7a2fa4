"""SE-PreResNet-20 and its training step as one writes them in PyTorch alone: what ours are measured against."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SE(nn.Module):
    """Gates of channels and the map that they rescale."""

    def __init__(self, channels: int, reduction: int = 16):
        super().__init__()
        self.fc1 = nn.Linear(channels, channels // reduction)
        self.fc2 = nn.Linear(channels // reduction, channels)

    def forward(self, x: Tensor) -> Tensor:
        s = torch.sigmoid(self.fc2(F.relu(self.fc1(x.mean((2, 3))))))
        return x * s[:, :, None, None]


class PreactUnit(nn.Module):
    """Pre-activation unit with SE behind its branch."""

    def __init__(self, inputs: int, outputs: int, stride: int, first: bool):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.se = SE(outputs)
        self.downsample = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if stride != 1 else None
        self.first = first

    def forward(self, x: Tensor) -> Tensor:
        activated = F.relu(self.bn1(x))
        y = self.se(self.conv2(F.relu(self.bn2(self.conv1(activated)))))
        if self.downsample is not None:
            x = self.downsample(activated)
        elif self.first:
            x = activated
        return x + y


class SEPreResNet20(nn.Module):
    """SE-PreResNet-20 whose parameters have the names of those of `create_model("se_preresnet20")`."""

    def __init__(self, in_channels: int = 3, num_classes: int = 10):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 16, 3, 1, 1, bias=False)
        self.layer1 = nn.Sequential(PreactUnit(16, 16, 1, True), PreactUnit(16, 16, 1, False), PreactUnit(16, 16, 1, False))
        self.layer2 = nn.Sequential(PreactUnit(16, 32, 2, False), PreactUnit(32, 32, 1, False), PreactUnit(32, 32, 1, False))
        self.layer3 = nn.Sequential(PreactUnit(32, 64, 2, False), PreactUnit(64, 64, 1, False), PreactUnit(64, 64, 1, False))
        self.bn = nn.BatchNorm2d(64)
        self.fc = nn.Linear(64, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer3(self.layer2(self.layer1(self.conv1(x))))
        return self.fc(F.relu(self.bn(x)).mean((2, 3)))


def training_step(model: nn.Module, images: Tensor, labels: Tensor, optimizer: torch.optim.Optimizer) -> Callable[[], Tensor]:
    def step() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    return step
