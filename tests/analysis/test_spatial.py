import numpy as np
import pytest
import torch
from torch import Tensor, nn

import senet
from senet import BlockSpec, SpatialSE, create_model, insert, record_spatial_gates
from senet.analysis.spatial import spatial_gate_paths
from senet.errors import UsageError

COMBINE = ("add", "max", "multiply", "concat")
SITES = ("SE_1_1", "SE_2_1", "SE_3_1", "SE_4_1", "SE_6_1", "SE_7_1", "SE_8_1", "SE_9_1")


def images(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def made(name: str, **options: object) -> nn.Module:
    torch.manual_seed(0)
    return create_model(name, width=4, **options).double()


class Row(nn.Module):
    """Blocks out of the order of execution, one of them inside scSE."""

    def __init__(self, combine: str) -> None:
        super().__init__()
        self.last = SpatialSE(6)
        self.first = senet.ChannelSpatialSE(4, combine=combine)
        self.stem, self.widen = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.widen(self.first(self.stem(x))))


def gate_by_hand(block: SpatialSE, x: Tensor) -> np.ndarray:
    weight, bias, values = block.conv.weight.detach().numpy(), block.conv.bias.detach().numpy(), x.numpy()
    return 1 / (1 + np.exp(-(np.einsum("nchw,c->nhw", values, weight[0, :, 0, 0]) + bias[0])))


@torch.no_grad()
@pytest.mark.parametrize("combine", COMBINE)
def test_gates_equal_those_by_hand(combine: str) -> None:
    torch.manual_seed(0)
    model, x = Row(combine).double(), images(3, 3, 9, 7)
    first, last = record_spatial_gates(model, x)
    assert [(one.path, one.name, one.stage, one.ends_stage, one.channels) for one in (first, last)] == [
        ("first.sse", "first.sse", 1, True, 4),
        ("last", "last", 2, True, 6),
    ]
    before = model.stem(x)
    np.testing.assert_allclose(first.gates[:, 0], gate_by_hand(model.first.sse, before), rtol=1e-12)
    np.testing.assert_allclose(last.gates[:, 0], gate_by_hand(model.last, model.widen(model.first(before))), rtol=1e-12)
    assert first.gates.shape == last.gates.shape == (3, 1, 7, 5)
    assert np.array_equal(first.map(1), first.gates[1, 0].numpy())


@pytest.mark.parametrize("name", ["sse_unet", "scse_unet", "scse_sd_net"])
def test_zoo_networks_have_their_sites_by_name(name: str) -> None:
    recorded = record_spatial_gates(made(name), images(2, 3, 33, 40))
    assert tuple(one.name for one in recorded) == SITES
    assert recorded[0].gates.shape == recorded[-1].gates.shape == (2, 1, 33, 40)
    assert recorded[3].gates.shape == (2, 1, 5, 5)
    assert all(one.ends_stage for one in recorded)


def test_inserted_blocks_are_named_as_the_zoos() -> None:
    model = made("unet")
    insert(model, BlockSpec("scse", reduction=2), example_input=images(1, 3, 32, 32))
    assert tuple(one.name for one in record_spatial_gates(model, images(1, 3, 32, 32))) == SITES


@torch.no_grad()
def test_a_fused_tail_hides_no_gates() -> None:
    """In evaluation without gradients the tail computes gate and product in one pass, past the block's own forward."""
    model, x = create_model("scse_cifar_resnet20").eval(), images(1, 3, 16, 16).float()
    recorded = record_spatial_gates(model, x)
    assert [one.path for one in recorded] == [f"layer{stage}.{unit}.se.sse" for stage in (1, 2, 3) for unit in (0, 1, 2)]
    assert [one.name for one in recorded if one.ends_stage] == ["SE_1_3", "SE_2_3", "SE_3_3"]


def test_of_a_volume_the_middle_slice_is_shown() -> None:
    recorded = record_spatial_gates(made("scse_unet3d"), images(1, 3, 18, 17, 16))
    assert recorded[0].gates.shape == (1, 1, 18, 17, 16)
    assert np.array_equal(recorded[0].map(), recorded[0].gates[0, 0, 9].numpy())
    assert recorded[3].map().shape == (3, 2)


def test_gates_of_a_signal_and_of_a_vector_are_a_row() -> None:
    block = nn.Sequential(SpatialSE(4))
    assert record_spatial_gates(block, torch.randn(2, 4, 9))[0].map(1).shape == (1, 9)
    assert record_spatial_gates(block, torch.randn(2, 4))[0].map(1).shape == (1, 1)


def test_the_model_is_left_as_it_was() -> None:
    model = made("scse_unet", norm="batch").train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    record_spatial_gates(model, images(1, 3, 32, 32))
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = SpatialSE(3)

    def forward(self, x: Tensor) -> Tensor:
        return x


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Sequential(senet.ChannelSE(4)), "Sequential has no gates of positions to record"),
        (Unused(), "Unused runs none of its blocks"),
    ],
)
def test_without_gates_there_is_one_line(model: nn.Module, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        record_spatial_gates(model, torch.randn(1, 3, 4, 4))


def test_blocks_of_users_may_have_gates_of_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("senet.blocks.kinds._in_files", {"mine.py:Mine": Mine})
    model = nn.Sequential(Mine(4))
    assert list(spatial_gate_paths(model).values()) == ["0"]
    assert torch.equal(record_spatial_gates(model, torch.ones(1, 4, 2, 3))[0].gates, torch.full((1, 1, 2, 3), 0.25))


class Mine(nn.Module):
    has_spatial_gates = True

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels))

    def gate(self, x: Tensor) -> Tensor:
        return x[:, :1] / 4

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x)
