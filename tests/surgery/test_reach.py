"""Which modules matter to the output of the container around them."""

import pytest
import torch
from torch import Tensor, nn

from senet.surgery.arguments import Arguments
from senet.surgery.reach import Effect, effects


class Paths(nn.Module):
    """A module on every kind of path."""

    def __init__(self) -> None:
        super().__init__()
        self.acts, self.fed_zeros, self.hidden, self.unused, self.cut = (nn.Conv2d(2, 2, 1) for _ in range(5))
        self.zero = nn.Conv2d(2, 2, 1, bias=False)
        self.gain = nn.Parameter(torch.zeros(()))
        nn.init.zeros_(self.zero.weight)

    def forward(self, x: Tensor) -> Tensor:
        self.unused(x)
        return self.acts(x) + self.fed_zeros(self.zero(x)) + self.gain * self.hidden(x) + self.cut(x).detach()


@pytest.mark.parametrize(
    ("name", "effect"),
    [
        *(("acts", Effect.ACTS), ("fed_zeros", Effect.ZERO_INPUT), ("hidden", Effect.HIDDEN)),
        *(("unused", Effect.NONE), ("cut", Effect.NONE)),
    ],
)
def test_the_effect_of_a_module(name: str, effect: Effect) -> None:
    container = Paths()
    module = container.get_submodule(name)
    assert effects(container, [module], Arguments((torch.empty(2, 2, 3, 3, device="meta"),), {})) == {module: effect}


def test_modules_are_told_apart_and_nothing_changes() -> None:
    container = Paths().train()
    state = {key: value.clone() for key, value in container.state_dict().items()}
    generator = torch.get_rng_state()
    modules = [container.acts, container.hidden, container.unused]
    found = effects(container, modules, Arguments((torch.empty(2, 2, 3, 3, device="meta"),), {}))
    assert list(found.values()) == [Effect.ACTS, Effect.HIDDEN, Effect.NONE]
    assert torch.equal(torch.get_rng_state(), generator)
    assert container.training
    assert all(parameter.grad is None for parameter in container.parameters())
    assert all(torch.equal(value, state[key]) for key, value in container.state_dict().items())


def test_a_shared_module_that_sees_two_sizes_is_judged_by_its_last_call() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shared = nn.Conv2d(2, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.shared(x).mean() + self.shared(x[..., ::2, ::2])

    container = Twice()
    found = effects(container, [container.shared], Arguments((torch.empty(2, 2, 4, 4, device="meta"),), {}))
    assert found == {container.shared: Effect.ACTS}
