"""Modules are judged by what they do, whoever wrote them."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from senet.surgery import roles


class TheirNorm(nn.Module):
    """A normalisation as a library may write it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(4)), nn.Parameter(torch.zeros(4))


class LayerScale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(4))


class DropPath(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rand(()) if self.training else x


class Swish(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x.sigmoid()


class Centre(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean()


class Shift(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.roll(1, -1)


class TwoInputs(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


CASES: list[tuple[Callable[[nn.Module], bool], list[nn.Module], list[nn.Module]]] = [
    (roles.is_wide, [nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, (1, 3)), nn.ConvTranspose2d(4, 4, 2)], [nn.Conv2d(4, 4, 1), nn.MaxPool2d(3)]),
    (roles.is_depthwise, [nn.Conv2d(4, 8, 3, groups=4)], [nn.Conv2d(4, 4, 3), nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 1, groups=4)]),
    (roles.is_pointwise, [nn.Conv2d(4, 8, 1)], [nn.Conv2d(4, 8, 1, groups=2), nn.Conv2d(4, 8, 3)]),
    (
        roles.is_norm,
        [nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.LayerNorm(4), nn.InstanceNorm2d(4), TheirNorm()],
        [LayerScale(), nn.Conv2d(4, 4, 1), nn.Sequential(nn.BatchNorm2d(4)), nn.ReLU()],
    ),
    (roles.is_scale, [LayerScale()], [nn.PReLU(), nn.Conv2d(4, 4, 1, bias=False), nn.Linear(4, 4, bias=False), TheirNorm(), nn.ReLU()]),
    (
        roles.is_identity,
        [nn.Identity(), nn.Dropout(), DropPath(), nn.Sequential(nn.Identity(), nn.Dropout2d())],
        [nn.ReLU(), LayerScale(), TwoInputs(), nn.Flatten(), nn.BatchNorm2d(4)],
    ),
    (
        roles.is_activation,
        [nn.ReLU(inplace=True), nn.PReLU(4), nn.GELU(), nn.Hardswish(), Swish(), nn.Sequential(nn.ReLU(), nn.Dropout())],
        [nn.Identity(), Centre(), Shift(), nn.Softmax2d(), nn.MaxPool2d(3, 1, 1), nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(4)],
    ),
    (roles.is_bounded, [nn.Sigmoid(), nn.Hardsigmoid(), nn.Tanh(), nn.ReLU6()], [nn.ReLU(), Swish(), nn.Identity(), nn.LeakyReLU()]),
]


@pytest.mark.parametrize(("role", "those", "others"), CASES, ids=[case[0].__name__ for case in CASES])
def test_roles(role: Callable[[nn.Module], bool], those: list[nn.Module], others: list[nn.Module]) -> None:
    assert [module for module in those if not role(module)] == []
    assert [module for module in others if role(module)] == []


def test_judging_leaves_modes_and_the_generator_alone() -> None:
    module = nn.Sequential(nn.Dropout(), nn.ReLU())
    module[0].eval()
    generator = torch.get_rng_state()
    assert roles.is_activation(module)
    assert [inner.training for inner in module.modules()] == [True, False, True]
    assert torch.equal(torch.get_rng_state(), generator)
