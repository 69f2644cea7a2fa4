"""One run without numbers: how modules are called, what shapes flow, and that nothing is left of it."""

import pytest
import torch
from torch import Tensor, nn

from senet.errors import UsageError
from senet.ops.hooks import has_hooks
from senet.surgery.graph import ModuleGraph
from senet.surgery.images import CUBE_SIDES, OTHER_SIDES, SIDES, SMALL_SIDES
from senet.surgery.probe import probe
from senet.surgery.trace import Container, trace


class Unit(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.up = nn.Upsample(scale_factor=2)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor, *, scale: float = 1.0) -> Tensor:
        y = self.relu(self.conv(x) * scale)
        return self.relu(self.up(y).flatten(2))


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.unit, self.unused = Unit(), nn.Linear(1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.unit(x, scale=0.5)


def test_calls_counts_and_outputs() -> None:
    model = Network()
    seen = probe(model, torch.zeros(2, 3, 8, 10))
    unit = model.unit
    assert list(seen.calls) == [model, unit, unit.conv, unit.relu, unit.up]
    assert seen.calls[unit].kwargs == {"scale": 0.5}
    assert (seen.counts[unit.relu], seen.counts[unit.conv], seen.counts[model.unused]) == (2, 1, 0)
    assert seen.outputs[unit.conv].shape == (2, 6, 4, 5)
    assert seen.outputs[unit.conv].is_meta
    assert seen.image[-1] == 10
    assert seen.upsampling == {unit.up}


def test_shapes_of_values_inside_a_forward() -> None:
    model = Network()
    seen = probe(model, torch.zeros(2, 3, 8, 10))
    graph = ModuleGraph(Container("unit", model.unit, trace(model.unit, given={"scale": 0.5})[0], {"scale": 0.5}))
    shapes = {node.name: seen.shape(graph, node) for node in graph.nodes}
    assert {name: shape for name, shape in shapes.items() if shape} == {
        "x": (2, 3, 8, 10),
        "conv": (2, 6, 4, 5),
        "mul": (2, 6, 4, 5),
        "relu": (2, 6, 4, 5),
        "up": (2, 6, 8, 10),
        "flatten": (2, 6, 80),
        "relu_1": (2, 6, 80),
        "output": (2, 6, 80),
    }


@pytest.mark.parametrize(("small", "sizes"), [(False, SIDES), (True, SMALL_SIDES)])
def test_without_an_example_an_image_is_made_for_the_first_convolution(small: bool, sizes: tuple[int, ...]) -> None:
    model = Network().double()
    seen = probe(model, small=small)
    (x,) = seen.calls[model].args
    assert x.shape == (2, 3, sizes[0], sizes[0])
    assert x.dtype == torch.float64


def test_the_size_that_a_network_declares_is_tried_when_no_other_fits() -> None:
    class Fixed(Network):
        input_size = (3, 20, 20)

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.view(-1, 3, 20, 20) if x.shape[-1] == 20 else x.view(0, 1))

    model = Fixed()
    assert probe(model).calls[model].args[0].shape == (2, 3, 20, 20)


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("side", [28, 32, 48, 227, 384, 518])
def test_the_one_size_that_a_network_takes_is_found(side: int, small: bool) -> None:
    assert side in OTHER_SIDES
    model = nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1), nn.Flatten(), nn.Linear(4 * ((side + 1) // 2) ** 2, 10))
    assert probe(model, small=small).calls[model].args[0].shape == (2, 1, side, side)


@pytest.mark.parametrize("side", CUBE_SIDES)
def test_the_one_volume_that_a_network_takes_is_found(side: int) -> None:
    model = nn.Sequential(nn.Conv3d(1, 2, 3, 2, 1), nn.Flatten(), nn.Linear(2 * (side // 2) ** 3, 10))
    assert probe(model).calls[model].args[0].shape == (2, 1, side, side, side)


def test_forwards_that_need_numbers_get_them_on_a_small_image() -> None:
    class Decides(Network):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) if x.sum() != 0 else x

    model = Decides()
    generator = torch.get_rng_state()
    assert probe(model).calls[model.unit].args[0].shape == (2, 3, SMALL_SIDES[0], SMALL_SIDES[0])
    assert torch.equal(torch.get_rng_state(), generator)


def test_nothing_of_the_network_changes() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).train()
    model[0].eval()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    probe(model, torch.randn(2, 3, 4, 4))
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == [True, False, True]
    assert not any(map(has_hooks, model.modules()))


@pytest.mark.parametrize(
    ("model", "example", "message"),
    [
        (nn.Linear(3, 3), None, "Linear has no convolution that tells what images it takes: give example_input"),
        (Network(), torch.zeros(1, 4, 8, 8), r"cannot run Network on \(1, 4, 8, 8\) \(RuntimeError: .*\): check example_input"),
        (nn.Sequential(nn.Conv2d(3, 4, 1), nn.Linear(7, 7)), None, r"cannot run Sequential on .*: give example_input"),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_line(model: nn.Module, example: Tensor | None, message: str) -> None:
    with pytest.raises(UsageError, match=message) as refused:
        probe(model, example)
    assert "\n" not in str(refused.value)
