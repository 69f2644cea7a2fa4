"""scSE against segmentation_models_pytorch (sum) and the authors' form (maximum)."""

import pytest
import torch
from segmentation_models_pytorch.base.modules import SCSEModule
from torch import Tensor, nn

from senet import ChannelSpatialSE, SpatialSE
from senet.errors import UsageError


class AuthorsForm(nn.Module):
    """Two recalibrated maps and their larger value, in the order of the authors' description; biases, r = 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // 2)
        self.excite = nn.Linear(channels // 2, channels)
        self.position = nn.Conv2d(channels, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        channel = self.excite(self.squeeze(nn.functional.adaptive_avg_pool2d(x, 1)[:, :, 0, 0]).clamp(min=0)).sigmoid()
        by_channel = torch.einsum("nchw,nc->nchw", x, channel)
        by_position = torch.einsum("nchw,nhw->nchw", x, self.position(x)[:, 0].sigmoid())
        return torch.where(by_channel > by_position, by_channel, by_position)


def fill(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return module


def renamed(state: dict[str, Tensor], names: dict[str, str], like: dict[str, Tensor]) -> dict[str, Tensor]:
    keys = {f"{ours}.{kind}": f"{theirs}.{kind}" for ours, theirs in names.items() for kind in ("weight", "bias")}
    return {ours: state[theirs].reshape(like[ours].shape) for ours, theirs in keys.items()}


@pytest.mark.parametrize("channels", [32, 37])
@pytest.mark.parametrize("size", [(8, 8), (5, 3)])
def test_add_equals_segmentation_models_pytorch(channels: int, size: tuple[int, int]) -> None:
    theirs = fill(SCSEModule(channels, reduction=16))
    ours = ChannelSpatialSE(channels, 16, combine="add").double()
    ours.load_state_dict(renamed(theirs.state_dict(), {"cse.fc1": "cSE.1", "cse.fc2": "cSE.3", "sse.conv": "sSE.0"}, ours.state_dict()))
    x = torch.randn(2, channels, *size, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("channels", [8, 9])
def test_max_equals_the_authors_form(channels: int) -> None:
    theirs = fill(AuthorsForm(channels))
    ours = ChannelSpatialSE(channels, combine="max").double()
    ours.load_state_dict(
        renamed(theirs.state_dict(), {"cse.fc1": "squeeze", "cse.fc2": "excite", "sse.conv": "position"}, ours.state_dict())
    )
    x = torch.randn(2, channels, 6, 5, dtype=torch.float64)
    assert (x < 0).any()  # there the larger product has the smaller gate
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-12, atol=1e-12)


def test_concat_reads_the_channel_form_first() -> None:
    block = ChannelSpatialSE(4, combine="concat").double()
    nn.init.zeros_(block.merge.bias)
    x = torch.randn(2, 4, 3, 3, dtype=torch.float64)
    for part, columns in ((block.cse, slice(0, 4)), (block.sse, slice(4, 8))):
        nn.init.zeros_(block.merge.weight)
        block.merge.weight.data[:, columns, 0, 0] = torch.eye(4)
        torch.testing.assert_close(block(x), part(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("bias", "added"), [(False, 8 * (64 * 64 + 64)), (True, 8 * (64 * 64 + 32 + 64 + 64 + 1))])
def test_eight_blocks_of_the_papers_unet(bias: bool, added: int) -> None:
    assert added == (33_280 if not bias else 34_056)  # the paper: 3.3e4
    assert 8 * sum(p.numel() for p in ChannelSpatialSE(64, bias=bias).parameters()) == added


def test_concat_adds_one_layer() -> None:
    blocks = {combine: ChannelSpatialSE(6, combine=combine) for combine in ("add", "max", "multiply", "concat")}
    keys = {combine: set(block.state_dict()) for combine, block in blocks.items()}
    assert keys["add"] == keys["max"] == keys["multiply"] == keys["concat"] - {"merge.weight", "merge.bias"}
    assert blocks["concat"].merge.weight.shape == (6, 12, 1, 1)


def test_the_spatial_gate_is_one_map() -> None:
    gate = SpatialSE(6).gate(torch.randn(2, 6, 4, 3))
    assert gate.shape == (2, 1, 4, 3)
    assert SpatialSE(6).conv.weight.shape == (1, 6, 1, 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"channels": 0}, "channels must be an integer"),
        ({"channels": 8, "reduction": 0}, "reduction must be"),
        ({"channels": 8, "combine": "mul"}, "did you mean 'multiply'|allowed: add, max, multiply, concat"),
    ],
)
def test_impossible_options_say_what_is_allowed(arguments: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        ChannelSpatialSE(**arguments)
