"""The residual tail: what joins branch and shortcut."""

import pytest
import torch
from torch import Tensor, nn

from senet import ChannelSE, CompetitiveSE
from senet.ops.tail.call import residual_tail

pytestmark = pytest.mark.usefixtures("definition")


@pytest.fixture
def parts() -> tuple[Tensor, Tensor, nn.Module, nn.Module, nn.Module]:
    torch.manual_seed(0)
    branch, shortcut = (torch.randn(3, 8, 5, 4, dtype=torch.float64) for _ in range(2))
    norms = [nn.BatchNorm2d(8).double() for _ in range(2)]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias)
    return branch, shortcut, norms[0], norms[1], ChannelSE(8, 2).double()


FORMULAS = {
    "standard": lambda u, x, se: torch.relu(x + se(u)),
    "identity": lambda u, x, se: torch.relu(se(x) + u),
    "post": lambda u, x, se: se(torch.relu(x + u)),
    "pre": lambda u, x, se: torch.relu(x + u),
    "inner": lambda u, x, se: torch.relu(x + u),
}


@pytest.mark.parametrize("placement", FORMULAS)
def test_placements(parts: tuple, placement: str) -> None:
    branch, shortcut, norm, shortcut_norm, se = parts
    got = residual_tail(branch, shortcut, norm=norm, shortcut_norm=shortcut_norm, recalibrate=se, placement=placement)
    torch.testing.assert_close(got, FORMULAS[placement](norm(branch), shortcut_norm(shortcut), se), rtol=0, atol=0)


@pytest.mark.parametrize("training", [True, False], ids=["training", "frozen"])
def test_first_and_second_derivatives_of_the_definition(parts: tuple, training: bool) -> None:
    branch, shortcut, *modules = parts
    for module in modules:
        module.train(training)
    branch, shortcut = (v[:2, :, :2, :2].clone().requires_grad_() for v in (branch, shortcut))
    norm, shortcut_norm, se = modules

    def tail(x: Tensor, r: Tensor) -> Tensor:
        return residual_tail(x, r, norm=norm, shortcut_norm=shortcut_norm, recalibrate=se, relu=False)

    assert torch.autograd.gradcheck(tail, (branch, shortcut))
    assert torch.autograd.gradgradcheck(tail, (branch, shortcut))


def test_a_pairwise_block_sees_branch_and_shortcut(parts: tuple) -> None:
    branch, shortcut, norm, shortcut_norm, _ = parts
    se = CompetitiveSE(8, 2).double()
    got = residual_tail(branch, shortcut, norm=norm, shortcut_norm=shortcut_norm, recalibrate=se, pairwise=True)
    u, x = norm(branch), shortcut_norm(shortcut)
    torch.testing.assert_close(got, torch.relu(x + se(u, x)), rtol=0, atol=0)


def test_plain_without_norm_and_relu_is_a_sum(parts: tuple) -> None:
    branch, shortcut, *_ = parts
    assert torch.equal(residual_tail(branch, shortcut, relu=False), branch + shortcut)


def test_inputs_are_left_alone(parts: tuple) -> None:
    branch, shortcut, norm, _, se = parts
    copies = branch.clone(), shortcut.clone()
    residual_tail(branch, shortcut, norm=norm, recalibrate=se)
    assert torch.equal(branch, copies[0])
    assert torch.equal(shortcut, copies[1])
