"""What is planned can be applied: one tracing says where a block goes, however many of them a forward takes."""

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn

import senet


class Unit(nn.Module):
    """Two residual sums in one forward, over lists of maps."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleDict({name: nn.Conv2d(8, 8, 3, padding=1) for name in ("one", "other")})

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        maps = maps[::-1]
        x = maps[0] + self.blocks["one"](maps[0]).relu()
        return [x, x + self.blocks["other"](x).relu()]


class Network(nn.Module):
    """A unit between two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.unit, self.head = nn.Conv2d(3, 8, 1), Unit(), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.unit([x, self.stem(x)])[1])


def test_several_blocks_in_one_forward() -> None:
    torch.manual_seed(0)
    model, x = Network().eval(), torch.randn(2, 3, 8, 8)
    before = model(x)
    plan = senet.find_sites(model, placement="identity")
    assert [(site.path, site.position) for site in plan] == [("unit", "graph")] * 2
    senet.insert(model, plan, init="identity")
    torch.testing.assert_close(model(x), before)
    senet.remove(model)
    assert torch.equal(model(x), before)


def test_a_decoder_whose_forward_keeps_its_maps_in_a_dictionary() -> None:
    torch.manual_seed(0)
    model, x = smp.UnetPlusPlus("resnet18", encoder_weights=None, decoder_channels=(16, 16, 8, 8, 8)).eval(), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = model(x)
        plan = senet.find_sites(model)
        assert sum(site.position == "graph" for site in plan) > 1
        senet.insert(model, plan, init="identity")
        torch.testing.assert_close(model(x), before, atol=1e-4, rtol=1e-4)
        senet.remove(model)
        assert torch.equal(model(x), before)
