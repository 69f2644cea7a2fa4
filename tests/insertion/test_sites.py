"""Where blocks go: what is found, what is left alone, what the user chooses."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
import torchvision
from pytorchcv.model_provider import get_model
from torch import Tensor, nn

import senet
from foreign.networks import DoubleConv, Functional, Unit
from senet.insertion.gated import Gated
from senet.insertion.rewrite import Rewritten

RESNET = torchvision.models.resnet18


def places(plan: senet.InsertPlan) -> list[tuple[str, str]]:
    return [(site.path, site.position) for site in plan]


@pytest.mark.parametrize(
    ("placement", "expected"),
    [
        ("standard", [("layer2.0.bn2", "output"), ("layer2.1.bn2", "output")]),
        ("pre", [("layer2.0.conv1", "input"), ("layer2.1.conv1", "input")]),
        ("post", [("layer2.0", "output"), ("layer2.1", "output")]),
        ("identity", [("layer2.0.downsample.1", "output"), ("layer2.1", "graph")]),
        ("inner", [("layer2.0.conv2", "input"), ("layer2.1.conv2", "input")]),
    ],
)
def test_every_placement_has_its_place(placement: str, expected: list[tuple[str, str]]) -> None:
    assert places(senet.find_sites(RESNET(), placement=placement, stages=(3,))) == expected


@pytest.mark.parametrize("placement", ["standard", "pre", "post", "identity", "inner"])
def test_placements_compute_what_they_say(placement: str) -> None:
    torch.manual_seed(0)
    block = torchvision.models.resnet.BasicBlock(8, 8).eval()
    nn.init.normal_(block.bn2.weight)
    model = nn.Sequential(nn.Conv2d(3, 8, 1), block)
    senet.insert(model, senet.BlockSpec("se", reduction=2), placement=placement)
    unit = model[1]
    se = next(module for module in model.modules() if isinstance(module, senet.ChannelSE))
    x = model[0](torch.randn(2, 3, 9, 9))
    plain = unit.host if placement == "post" else unit
    c1, b1, c2, b2 = (unwrapped(getattr(plain, name)) for name in ("conv1", "bn1", "conv2", "bn2"))

    def branch(x: Tensor, inner: nn.Module | None = None) -> Tensor:
        u = F.relu(b1(c1(x)))
        return b2(c2(u if inner is None else inner(u)))

    expected = {
        "standard": lambda: F.relu(x + se(branch(x))),
        "pre": lambda: F.relu(x + branch(se(x))),
        "post": lambda: se(F.relu(x + branch(x))),
        "identity": lambda: F.relu(se(x) + branch(x)),
        "inner": lambda: F.relu(x + branch(x, se)),
    }[placement]()
    torch.testing.assert_close(unit(x), expected)


def unwrapped(module: nn.Module) -> nn.Module:
    return module.host if isinstance(module, Gated) else module


def test_competitive_blocks_see_branch_and_shortcut() -> None:
    torch.manual_seed(0)
    model = RESNET().eval()
    plan = senet.insert(model, "cmpe_se")
    assert places(plan)[:1] == [("layer1.0", "graph")]
    unit = model.layer2[0]
    x = torch.randn(2, 64, 8, 8)
    shortcut = unit.downsample(x)
    u = unit.bn2(unit.conv2(F.relu(unit.bn1(unit.conv1(x)))))
    torch.testing.assert_close(unit(x), F.relu(unit.se(u, shortcut) + shortcut))
    assert isinstance(unit, Rewritten)
    assert "RewrittenBasicBlock" in repr(model)


def test_sites_are_found_without_weights() -> None:
    with torch.device("meta"):
        model = RESNET()
    assert len(senet.find_sites(model)) == 8


def test_dilated_stages_count_by_their_stride() -> None:
    model = torchvision.models.resnet50(replace_stride_with_dilation=[False, True, True])
    assert [site.stage for site in senet.find_sites(model)] == [2] * 3 + [3] * 13


def test_an_example_input_tells_what_the_network_takes() -> None:
    class TwoInputs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 3, padding=1)
            self.unit = Unit(8, nn.ReLU())

        def forward(self, x: Tensor, scale: Tensor) -> Tensor:
            return self.unit(self.stem(x) * scale)

    plan = senet.find_sites(TwoInputs(), example_input=(torch.zeros(1, 3, 16, 16), torch.ones(1)))
    assert [site.path for site in plan] == ["unit.bn"]
    with pytest.raises(senet.errors.UsageError, match=r"cannot run TwoInputs on .*: give example_input"):
        senet.find_sites(TwoInputs())


@pytest.mark.parametrize("dimensions", [1, 3])
def test_one_and_three_dimensions(dimensions: int) -> None:
    conv, norm = {1: (nn.Conv1d, nn.BatchNorm1d), 3: (nn.Conv3d, nn.BatchNorm3d)}[dimensions]

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = conv(8, 8, 3, padding=1)
            self.norm = norm(8)

        def forward(self, x: Tensor) -> Tensor:
            return F.relu(x + self.norm(self.conv(x)))

    model = nn.Sequential(conv(2, 8, 3, padding=1), Residual(), Residual())
    plan = senet.insert(model, "scse")
    assert [site.path for site in plan] == ["1.norm", "2.norm"]
    assert model(torch.randn(2, 2, *(12,) * dimensions)).shape[:2] == (2, 8)


def test_a_functional_activation_puts_the_block_before_it_and_says_so() -> None:
    class LeNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(3, 6, 5)
            self.conv2 = nn.Conv2d(6, 16, 5)
            self.fc = nn.Linear(16, 10)

        def forward(self, x: Tensor) -> Tensor:
            x = F.max_pool2d(F.relu(self.conv1(x)), 2)
            x = F.relu(self.conv2(x))
            return self.fc(x.mean((2, 3)))

    plan = senet.find_sites(LeNet())
    assert places(plan) == [("conv1", "output"), ("conv2", "output")]
    assert {site.note for site in plan} == {"before the activation, which is not a module"}


def test_modules_that_the_user_names() -> None:
    model = RESNET()
    plan = senet.find_sites(model, at=r"layer[12]\.0")
    assert places(plan) == [("layer1.0", "output"), ("layer2.0", "output")]
    assert {site.kind for site in plan} == {"module"}
    before = senet.find_sites(model, at=nn.MaxPool2d, placement="pre")
    assert places(before) == [("maxpool", "input")]
    senet.insert(model, before)
    assert isinstance(model.maxpool, Gated)


def test_units_that_recalibrate_already_get_a_block_only_if_asked() -> None:
    model = senet.create_model("se_cifar_resnet20", stages=(1,))
    plan = senet.find_sites(model)
    assert [site.stage for site in plan] == [2] * 3 + [3] * 3
    assert plan.notes == ("3 units recalibrate already and are left alone; existing='add' gives them a block too",)
    both = senet.find_sites(model, existing="add")
    assert [site.existing for site in both] == [True] * 3 + [False] * 6


@pytest.mark.parametrize("placement", ["standard", "pre", "post", "identity", "inner"])
@pytest.mark.parametrize("kind", ["se", "sse", "scse"])
def test_the_zoos_own_blocks_are_recognised_at_every_placement(placement: str, kind: str) -> None:
    model = senet.create_model("cifar_resnet20", block=kind, placement=placement)
    with pytest.raises(senet.errors.UsageError, match="all 9 units of CifarResNet recalibrate already"):
        senet.find_sites(model)


@pytest.mark.parametrize("placement", ["standard", "pre", "post", "identity", "inner"])
def test_inserted_blocks_are_recognised_at_every_placement(placement: str) -> None:
    model = RESNET()
    senet.insert(model, placement=placement)
    with pytest.raises(senet.errors.UsageError, match="all 8 units of ResNet recalibrate already"):
        senet.find_sites(model)


def test_what_is_left_out_is_noted() -> None:
    plan = senet.find_sites(Functional(), placement="identity")
    assert places(plan) == [("widen", "output")]
    assert len(plan.notes) == 1
    assert plan.notes[0].startswith("left out: Functional does it in its own forward")


def test_a_long_skip_around_units_is_no_unit() -> None:
    class Trunk(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 3, padding=1)
            self.body = nn.Sequential(Unit(8, nn.ReLU()), Unit(8, nn.ReLU()), nn.Conv2d(8, 8, 3, padding=1))

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            return x + self.body(x)

    assert [site.path for site in senet.find_sites(Trunk())] == ["body.0.bn", "body.1.bn"]


def test_plain_chains_get_a_block_behind_every_activation() -> None:
    model = nn.Sequential(DoubleConv(3, 8), nn.MaxPool2d(2), DoubleConv(8, 16))
    plan = senet.find_sites(model)
    assert [site.path for site in plan] == ["0.2", "0.5", "2.2", "2.5"]
    assert [site.stage for site in plan] == [1, 1, 2, 2]


class Striding(nn.Module):
    """A pooled map joined with branches made from the same map: a unit of ShuffleNet, or a module of an Inception."""

    def __init__(self, pool: Callable[[Tensor], Tensor], *depths: int) -> None:
        super().__init__()
        self.pool = pool
        self.branches = nn.ModuleList(
            nn.Sequential(*(nn.Conv2d(8, 8, 3, 2 if layer == 0 else 1, 1) for layer in range(depth))) for depth in depths
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(torch.cat([*(branch(x) for branch in self.branches), self.pool(x)], 1))


POOLS = {"module": nn.AvgPool2d(3, 2, 1), "function": lambda x: F.max_pool2d(x, 3, 2, 1)}


@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
@pytest.mark.parametrize(
    ("depths", "expected"),
    [((2,), ("dense", "1.branches.0.1")), ((1, 2), ("concat", "1")), ((1, 1), ("concat", "1"))],
    ids=["one branch", "two branches", "two short branches"],
)
def test_a_pool_beside_one_branch_is_a_shortcut_and_beside_several_one_of_them(
    pool: Callable[[Tensor], Tensor], depths: tuple[int, ...], expected: tuple[str, str]
) -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), Striding(pool, *depths))
    plan = senet.insert(model, senet.BlockSpec("se", reduction=2))
    assert [(site.kind, site.path) for site in plan] == [expected]


def test_a_pool_beside_a_single_convolution_is_no_unit() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), Striding(nn.AvgPool2d(3, 2, 1), 1), Unit(16, nn.ReLU()))
    assert [site.path for site in senet.find_sites(model)] == ["2.bn"]


def test_every_unit_of_anothers_shufflenet_is_found() -> None:
    plan = senet.find_sites(get_model("shufflenet_g3_w1"))
    units = [(stage, unit) for stage, count in ((1, 4), (2, 8), (3, 4)) for unit in range(1, count + 1)]
    assert [site.path for site in plan] == [f"features.stage{stage}.unit{unit}.expand_bn3" for stage, unit in units]
    assert [site.kind for site in plan] == ["dense" if unit == 1 else "residual" for _, unit in units]
    assert [site.channels for site in plan if site.kind == "dense"] == [216, 240, 480]


def test_finding_changes_nothing() -> None:
    model = RESNET()
    model.layer1.eval()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    flags = [module.training for module in model.modules()]
    generator = torch.get_rng_state()
    senet.find_sites(model, placement="identity")
    assert [module.training for module in model.modules()] == flags
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)
