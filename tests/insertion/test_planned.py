"""What is planned can be applied: one tracing says where a block goes, however many of them a forward takes."""

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
        self.stem, self.head = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)
        self.unit: nn.Module = Unit()

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


class Kept(nn.Module):
    """Forward that keeps its maps in a dictionary and joins them by functions."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleDict({name: nn.Conv2d(8, 8, 3, padding=1) for name in ("one", "other", "last")})

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        kept: dict[str, Tensor] = {"": maps[-1]}
        for name, block in self.blocks.items():
            kept[name] = block(kept[""]).relu() + kept[""]
            kept[""] = torch.maximum(kept[name], kept[""])
        return list(kept.values())[::-1]


def test_a_forward_that_keeps_its_maps_in_a_dictionary() -> None:
    torch.manual_seed(0)
    model, x = Network(), torch.randn(1, 3, 16, 16)
    model.unit = Kept()
    with torch.no_grad():
        before = model.eval()(x)
        plan = senet.find_sites(model)
        assert [(site.path, site.position) for site in plan] == [("unit", "graph")] * 3
        senet.insert(model, plan, init="identity")
        torch.testing.assert_close(model(x), before)
        senet.remove(model)
        assert torch.equal(model(x), before)
