"""What cannot be inserted is refused in one line, and the network stays as it was, bit by bit."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

import senet
from foreign.networks import Functional, ReadsTraining, Untraceable
from senet.errors import UsageError


class Bypassed(nn.Module):
    """A unit that takes the weight of its last BN instead of calling it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.unused = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        self.unused(y)
        return self.fc(y.mean((2, 3)))


class ReadsAttributes(nn.Module):
    """A container that asks its unit for its weights, which a wrapper does not have."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.conv = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return x + self.conv(x) * (self.conv.weight.shape[0] / 8)


class Detached(nn.Module):
    """A container that cuts the gradient of its unit."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.unit = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.unit(self.stem(x)).detach() + self.stem(x)


class DetachedUnits(nn.Module):
    """Two units, one with a functional shortcut and one with a convolution there, whose result has no gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(8, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.conv3 = nn.Conv2d(8, 8, 3, padding=1)
        self.down = nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.conv1(x)
        return (self.down(x) + self.conv3(self.conv2(x))).detach()


class Outer(nn.Module):
    """A container of one unit."""

    def __init__(self, unit: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.unit = unit

    def forward(self, x: Tensor) -> Tensor:
        return self.unit(self.stem(x))


def resnet() -> nn.Module:
    return torchvision.models.resnet18()


def linear() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 3))


def with_block(model: nn.Module) -> senet.InsertPlan:
    return senet.find_sites(model).keep(limit=2)


def edited(**fields: Any) -> Callable[[nn.Module], Any]:
    """Return what makes a plan with one site that says something else."""

    def edit(model: nn.Module) -> senet.InsertPlan:
        plan = with_block(model)
        return replace(plan, sites=(plan.sites[0], replace(plan.sites[1], **fields)))

    return edit


CASES: dict[str, tuple[Callable[[], nn.Module], Any, dict[str, Any], str]] = {
    "no convolution": (linear, "se", {}, "Sequential has no convolution that tells what images it takes: give example_input"),
    "no site": (lambda: nn.Sequential(nn.Conv2d(3, 8, 3)), "se", {}, "found no site in Sequential; name modules with at="),
    "nothing traceable": (Untraceable, "se", {}, r"found no site in Untraceable \(2 modules cannot be traced, such as units.0: "),
    "regex without match": (resnet, "se", {"at": "layr1.0.bn2"}, "no module matches 'layr1.0.bn2'; near it: layer1.0.bn2"),
    "type without match": (resnet, "se", {"at": nn.BatchNorm3d}, "no module matches 'BatchNorm3d'; near it: BatchNorm2d"),
    "bad regex": (resnet, "se", {"at": "("}, r"'\(' is not a regular expression"),
    "module without a map": (resnet, "se", {"at": "fc"}, r"fc gives no map \(N, C, ...\): it cannot be recalibrated"),
    "at with another placement": (resnet, "se", {"at": "bn1", "placement": "post"}, "at= puts blocks behind modules .* not 'se' at 'post'"),
    "no such stage": (resnet, "se", {"stages": (9,)}, "no site is in stages 9; there are sites in stages 2, 3, 4, 5"),
    "stage without reduction": (resnet, senet.BlockSpec("se", reduction={2: 8}), {}, "reduction says nothing about stage 3"),
    "unknown block": (resnet, "sx", {}, "unknown block 'sx'"),
    "not a block": (resnet, 3, {}, "block must be a kind of block, a BlockSpec or an InsertPlan, got int"),
    "unknown placement": (resnet, "se", {"placement": "last"}, "unknown placement 'last'"),
    "unknown init": (resnet, "se", {"init": "zeros"}, "unknown init 'zeros'.*allowed: paper, identity"),
    "unknown existing": (resnet, "se", {"existing": "replace"}, "unknown existing 'replace'.*allowed: skip, add"),
    "placement of the block": (resnet, "cmpe_se", {"placement": "pre"}, "'cmpe_se' blocks cannot take the placement 'pre'"),
    "placement without residuals": (
        lambda: torchvision.models.vgg11(),
        "se",
        {"placement": "identity"},
        "placement 'identity' is impossible in VGG: VGG: a unit of the kind 'chain' takes 'standard' only",
    ),
    "competitive block without a shortcut": (
        lambda: torchvision.models.vgg11(),
        "cmpe_se",
        {},
        "'cmpe_se' weighs a branch against its shortcut",
    ),
    "placement in the network's own forward": (Functional, "cmpe_se", {}, "what has no parent cannot be replaced"),
    "forward that reads training": (lambda: Outer(ReadsTraining(8)), "se", {"placement": "identity"}, "reads self.training"),
    "channels that do not fold": (
        resnet,
        senet.BlockSpec("cmpe_se", variant="folded_3x3", fold_size=24),
        {},
        "layer1.0: 64 channels cannot be folded to 24",
    ),
    "meta device": (lambda: torchvision.models.resnet18().to("meta"), "se", {}, "ResNet is on the meta device and has no weights yet"),
    "wrong example": (
        resnet,
        "se",
        {"example_input": torch.zeros(1, 4, 64, 64)},
        r"cannot run ResNet on \(1, 4, 64, 64\).*check example_input",
    ),
    "compiled": (lambda: torch.compile(resnet()), "se", {}, r"wraps the network: insert into model\._orig_mod first"),  # pyright: ignore[reportReturnType]
    "empty plan": (resnet, lambda model: replace(with_block(model), sites=()), {}, "the plan is empty"),
    "plan with other channels": (resnet, edited(channels=63), {}, "layer1.1.bn2 recalibrates 63 channels, but the map there has 64"),
    "plan with a missing path": (resnet, edited(path="layer9.0.bn2"), {}, "plan is of another network: ResNet has 'layer9.0.bn2'"),
    "plan with another module": (resnet, edited(host="GroupNorm"), {}, "layer1.1.bn2 is a GroupNorm there and a BatchNorm2d here"),
    "plan with a missing value": (
        resnet,
        edited(path="layer1.1", host="BasicBlock", position="graph", node="y", users=("add",)),
        {},
        "the forward of layer1.1 has no value 'y'",
    ),
    "plan of another network": (
        resnet,
        lambda _: senet.find_sites(torchvision.models.mobilenet_v2()),
        {},
        "plan is of another network: MobileNetV2 has 'features.1.conv.2', this ResNet has not",
    ),
    "plan of a wider network": (
        resnet,
        lambda _: senet.find_sites(
            torchvision.models.ResNet(torchvision.models.resnet.BasicBlock, [2, 2, 2, 2], width_per_group=64).double()
        ),
        {"placement": "pre"},
        "a plan says itself where its blocks go",
    ),
    "plan twice at one place": (resnet, lambda model: doubled(with_block(model)), {}, "the plan has two blocks for layer1.0.bn2"),
    "block that reaches nothing": (Bypassed, "se", {"at": "unused"}, "the block at unused does not reach the output of the network"),
    "block without gradient": (Detached, "se", {"at": "unit"}, "the block at unit does not reach the output of the network"),
    "forward that reads attributes": (ReadsAttributes, "se", {}, "does not work with wrapped modules, its forward reads their attributes"),
    "module that is never called": (
        lambda: torchvision.models.googlenet(init_weights=False),
        "se",
        {"at": "aux1.conv"},
        "aux1.conv does not run",
    ),
}


def doubled(plan: senet.InsertPlan) -> senet.InsertPlan:
    return replace(plan, sites=(plan.sites[0], plan.sites[0]))


@pytest.mark.parametrize("case", CASES)
def test_refusal_is_one_line_and_leaves_the_network_as_it_was(case: str) -> None:
    build, block, options, message = CASES[case]
    model = build()
    argument = block(model) if callable(block) and not isinstance(block, type) else block
    before = fingerprint(model)
    generator = torch.get_rng_state()
    with pytest.raises(UsageError, match=message) as refused:
        senet.insert(model, argument, **options)
    assert "\n" not in str(refused.value)
    assert fingerprint(model) == before
    if case not in ("block that reaches nothing", "block without gradient", "forward that reads attributes"):  # these drew their blocks
        assert torch.equal(torch.get_rng_state(), generator)


def test_inserting_a_plan_twice_is_refused() -> None:
    model = resnet()
    plan = senet.find_sites(model)
    senet.insert(model, plan)
    before = fingerprint(model)
    with pytest.raises(UsageError, match=r"this plan is inserted already: layer1\.0\.bn2 has its block; senet.remove"):
        senet.insert(model, plan)
    with pytest.raises(UsageError, match="all 8 units of ResNet recalibrate already"):
        senet.insert(model)
    assert fingerprint(model) == before


@pytest.mark.parametrize("placement", ["post", "identity"])
def test_inserting_a_container_plan_twice_is_refused(placement: str) -> None:
    model = resnet()
    plan = senet.find_sites(model, placement=placement)
    senet.insert(model, plan)
    before = fingerprint(model)
    with pytest.raises(UsageError, match=r"this plan is inserted already: layer1\.0 has its block"):
        senet.insert(model, plan)
    assert fingerprint(model) == before


def test_nothing_to_remove_or_to_freeze() -> None:
    with pytest.raises(UsageError, match="there is nothing to remove: ResNet has no inserted blocks"):
        senet.remove(resnet())
    with pytest.raises(UsageError, match="ResNet has no blocks to train"):
        senet.freeze_host(resnet())


def test_a_failed_insertion_keeps_the_blocks_of_an_earlier_one() -> None:
    model = Bypassed()
    senet.insert(model, "se", at="conv")
    before = fingerprint(model)
    with pytest.raises(UsageError, match="the block at unused does not reach"):
        senet.insert(model, "sse", at="unused")
    assert fingerprint(model) == before


def test_wrappers_inside_a_rewritten_container_are_undone_too() -> None:
    model = Outer(DetachedUnits())
    plan = senet.find_sites(model, placement="identity")
    assert [(site.path, site.position) for site in plan] == [("unit", "graph"), ("unit.down", "output")]
    before = fingerprint(model)
    with pytest.raises(UsageError, match="does not reach the output of unit"):
        senet.insert(model, plan)
    assert fingerprint(model) == before


def fingerprint(model: nn.Module) -> str:
    """Return everything that an insertion could have changed."""
    modules = {
        path: (
            id(module),
            type(module).__name__,
            module.training,
            list(vars(module)),
            len(module._forward_hooks),
            len(module._forward_pre_hooks),
        )
        for path, module in model.named_modules(remove_duplicate=False)
    }
    meta = any(tensor.is_meta for tensor in model.state_dict().values())
    state = {key: None if meta else value.double().sum().item() for key, value in model.state_dict().items()}
    grads = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    return json.dumps([modules, state, grads], default=str)
