"""The noise of shake-shake, its evaluation form against NumPy and pytorchcv, and where the blocks sit."""

import re

import pytest
import torch
from pytorchcv.model_provider import get_model
from torch import Tensor, nn

from oracles import numpy_shake
from oracles.weights import draw
from senet import BlockSpec, create_model
from senet.errors import UsageError
from senet.models.shake_shake import EvenUnit, Shake, ShakeLayout, ShakeShake, ShakeUnit, TwoPathShortcut
from senet.models.unit_blocks import UnitBlocks
from senet.spec import Recalibration

IMAGES = 4000


def small(unit: type[ShakeUnit], block: BlockSpec | None = None, **options: str) -> ShakeShake:
    """Return a network of two narrow units a stage, with lively weights, in float64 and evaluation mode."""
    shape = {"groups": 4, "base_width": 64} if unit is EvenUnit else {}
    layout = ShakeLayout(unit, 2, 8, (16, 32, 64), shape)
    model = ShakeShake(layout, 5, 3, UnitBlocks(Recalibration(block)), **options)
    return draw(model.double(), last=r"branch\d\.bn[23]$", projection=r"downsample\.(bn|1)$").eval()


def random_branches(count: int = IMAGES, **options: object) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.randn(count, 3, 2, 2, generator=generator, **options) for _ in range(2))


def shares(out: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Return the share of `first` in each number of `out`."""
    return (out - second) / (first - second)


class TestNoise:
    def test_evaluation_is_the_mean(self) -> None:
        first, second = random_branches()
        assert torch.equal(Shake().eval()(first, second), (first + second) / 2)

    def test_an_image_has_one_share_and_images_differ(self) -> None:
        first, second = random_branches(dtype=torch.float64)
        alpha = shares(Shake()(first, second), first, second).flatten(1)
        torch.testing.assert_close(alpha, alpha[:, :1].expand_as(alpha), rtol=1e-6, atol=1e-6)
        assert alpha[:, 0].unique().numel() == IMAGES

    def test_shares_are_uniform(self) -> None:
        torch.manual_seed(0)
        first, second = random_branches(dtype=torch.float64)
        alpha = shares(Shake()(first, second), first, second).flatten(1).median(1).values.sort().values
        steps = torch.arange(1, IMAGES + 1, dtype=torch.float64) / IMAGES
        assert (alpha - steps).abs().max() < 1.95 / IMAGES**0.5  # Kolmogorov-Smirnov, one in a thousand seeds would fail
        assert alpha[0] >= 0
        assert alpha[-1] <= 1

    def test_mean_over_the_noise_is_the_evaluation(self) -> None:
        torch.manual_seed(0)
        first, second = (branch[:1].expand(IMAGES, -1, -1, -1) for branch in random_branches(1))
        shake = Shake()
        error = shake(first, second).mean(0) - shake.eval()(first, second)[0]
        assert (error.abs() < 4 * (first[0] - second[0]).abs() / (12 * IMAGES) ** 0.5).all()  # four standard errors

    @pytest.mark.parametrize("backward", ["shake", "even"])
    def test_gradients_take_other_shares_that_add_to_one(self, backward: str) -> None:
        torch.manual_seed(0)
        first, second = (branch.requires_grad_() for branch in random_branches(dtype=torch.float64))
        out = Shake(backward)(first, second)
        out.sum().backward()
        alpha = shares(out, first, second).detach().flatten(1).median(1).values
        beta = first.grad.flatten(1)
        torch.testing.assert_close(beta, beta[:, :1].expand_as(beta), rtol=0, atol=0)
        torch.testing.assert_close(first.grad + second.grad, torch.ones_like(first))
        if backward == "even":
            assert (beta == 0.5).all()
        else:
            assert abs(torch.corrcoef(torch.stack((alpha, beta[:, 0])))[0, 1]) < 4 / IMAGES**0.5
            steps = torch.arange(1, IMAGES + 1, dtype=torch.float64) / IMAGES
            assert (beta[:, 0].sort().values - steps).abs().max() < 1.95 / IMAGES**0.5

    def test_the_global_generator_decides(self) -> None:
        model = create_model("shake_shake26_2x32d").train()
        images = torch.randn(4, 3, 16, 16)
        outcomes = []
        for seed in (3, 3, 4):
            torch.manual_seed(seed)
            outcomes.append(model(images))
        assert torch.equal(outcomes[0], outcomes[1])
        assert not torch.allclose(outcomes[0], outcomes[2])

    def test_half_precision_keeps_its_type(self) -> None:
        first, second = random_branches(8, dtype=torch.bfloat16)
        out = Shake()(first, second)
        assert out.dtype == torch.bfloat16
        low, high = torch.minimum(first, second), torch.maximum(first, second)
        assert ((out >= low - 0.05) & (out <= high + 0.05)).all()

    def test_training_compiles_without_graph_breaks(self) -> None:
        shake = torch.compile(Shake(), backend="aot_eager", fullgraph=True)
        first, second = (branch.requires_grad_() for branch in random_branches(8, dtype=torch.float64))
        out = shake(first, second)
        out.sum().backward()
        alpha = shares(out, first, second).flatten(1)
        assert (alpha.max(1).values - alpha.min(1).values).max() < 1e-6
        torch.testing.assert_close(first.grad + second.grad, torch.ones_like(first))
        assert not torch.allclose(first.grad.flatten(1)[:, 0], alpha[:, 0].detach(), atol=1e-3)

    def test_unknown_shares_are_refused(self) -> None:
        with pytest.raises(UsageError, match=r"unknown backward 'keep' .*allowed: shake, even"):
            Shake("keep")


@pytest.mark.parametrize("block", [None, BlockSpec("se", reduction=4)], ids=["plain", "se"])
@pytest.mark.parametrize("unit", [ShakeUnit, EvenUnit])
@pytest.mark.parametrize("size", [8, 11])
def test_evaluation_equals_numpy(unit: type[ShakeUnit], block: BlockSpec | None, size: int) -> None:
    model = small(unit, block)
    images = torch.randn(2, 3, size, size, dtype=torch.float64)
    p = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    want = numpy_shake.even_network(images.numpy(), p, 2, 4) if unit is EvenUnit else numpy_shake.shake_network(images.numpy(), p, 2)
    with torch.no_grad():
        got = model(images).numpy()
    assert 1e-2 < abs(want).max() < 1e4
    assert abs(got - want).max() / abs(want).max() < 1e-12


def as_the_authors(oracle: nn.Module) -> nn.Module:
    """Move the ReLUs of pytorchcv's network: from behind the stem and the sums to the start of the paths and before the pooling."""
    features = oracle.features
    features.init_block.activ = nn.Identity()
    for stage in (features.stage1, features.stage2, features.stage3):
        for unit in stage:
            unit.activ = nn.Identity()
            for name in ("branch1", "branch2", "identity_branch"):
                if hasattr(unit, name):
                    setattr(unit, name, nn.Sequential(nn.ReLU(), getattr(unit, name)))
    features.final_pool = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    return oracle


def from_pytorchcv(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the keys, and join the two convolutions of each shortcut."""
    renamed: dict[str, Tensor] = {}
    for key, tensor in state.items():
        for pattern, replacement in (
            (r"^features\.init_block\.(conv|bn)\.", r"\g<1>1."),
            (r"^features\.stage(\d)\.unit(\d)", lambda m: f"layer{m[1]}.{int(m[2]) - 1}"),
            (r"\.conv(\d)\.(conv|bn)\.", r".\2\1."),
            (r"identity_branch\.", "downsample."),
            (r"downsample\.conv[12]", "downsample.conv"),
            (r"^output", "fc"),
        ):
            key = re.sub(pattern, replacement, key)
        renamed[key] = torch.cat((renamed[key], tensor)) if key in renamed else tensor
    return renamed


def test_evaluation_equals_pytorchcv_with_its_relus_moved() -> None:
    oracle = draw(
        get_model("shakeshakeresnet26_2x32d_cifar10").double(), last=r"branch\d\.conv2\.bn$", projection=r"identity_branch\.bn$"
    ).eval()
    ours = create_model("shake_shake26_2x32d").double().eval()
    ours.load_state_dict(from_pytorchcv(oracle.state_dict()))
    published = nn.Sequential(oracle.features, nn.Flatten(), oracle.output)
    for size in (32, 45):
        images = torch.randn(2, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(size))
        with torch.no_grad():
            got = ours(images)
            if size == 32:
                assert not torch.allclose(published(images), got, rtol=1e-2)  # the ReLUs matter
                as_the_authors(oracle)
            want = oracle(images)
        assert 1e-2 < want.abs().max() < 1e4
        assert (got - want).abs().max() / want.abs().max() < 1e-12


def test_paths_of_the_shortcut_are_drawn_by_their_own_fan_out() -> None:
    torch.manual_seed(0)
    shortcut = TwoPathShortcut(64, 512, 2)
    shortcut.reset_parameters()
    assert shortcut.conv.weight.std().item() == pytest.approx((2 / 256) ** 0.5, rel=0.05)


class TestRecalibration:
    @pytest.mark.parametrize(("name", "per_unit"), [("shake_shake26_2x96d", 96_768), ("shake_even29_2x4x64d", 516_096)])
    def test_blocks_in_the_branches_are_twice_as_many(self, name: str, per_unit: int) -> None:
        spec = BlockSpec("se", bias=False)
        counts = [
            sum(p.numel() for p in create_model(name, device="meta", **options).parameters())
            for options in ({}, {"block": spec}, {"block": spec, "recalibrate": "branches"})
        ]
        assert counts[1] - counts[0] == per_unit
        assert counts[2] - counts[0] == 2 * per_unit

    @pytest.mark.parametrize("recalibrate", ["mixed", "branches"])
    def test_where_the_blocks_act(self, recalibrate: str) -> None:
        x = torch.randn(2, 16, 8, 8, dtype=torch.float64)
        unit = small(ShakeUnit, BlockSpec("se", reduction=4), recalibrate=recalibrate).layer1[1]
        with torch.no_grad():
            u1, u2 = unit.branch1[:5](torch.relu(x)), unit.branch2[:5](torch.relu(x))
            joined = unit.se((u1 + u2) / 2) if recalibrate == "mixed" else (unit.branch1.se(u1) + unit.branch2.se(u2)) / 2
            torch.testing.assert_close(unit(x), x + joined, rtol=1e-12, atol=1e-12)

    def test_stages_and_kinds_reach_the_branches(self) -> None:
        model = create_model("shake_shake26_2x32d", block="scse", stages=(2,), recalibrate="branches", device="meta")
        blocks = [name for name, _ in model.named_modules() if name.endswith(".se")]
        assert blocks == [f"layer2.{unit}.branch{branch}.se" for unit in range(4) for branch in (1, 2)]

    @pytest.mark.parametrize("unit", [ShakeUnit, EvenUnit])
    def test_competition_sees_mixture_and_projected_shortcut(self, unit: type[ShakeUnit]) -> None:
        model = small(unit, BlockSpec("cmpe_se", reduction=4))
        x = torch.randn(2, 16, 8, 8, dtype=torch.float64)
        first = model.layer2[0]
        activated = torch.relu(x) if unit is ShakeUnit else x
        with torch.no_grad():
            mixed, shortcut = (first.branch1(activated) + first.branch2(activated)) / 2, first.downsample(activated)
            total = shortcut + first.se(mixed, shortcut)
            torch.testing.assert_close(first(x), total if unit is ShakeUnit else torch.relu(total), rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"placement": "pre"}, "takes the placement standard or post or identity only, got 'pre'"),
            ({"placement": "post", "recalibrate": "branches"}, "takes the placement standard only, got 'post'"),
            ({"recalibrate": "each"}, "unknown recalibrate 'each' .*allowed: mixed, branches"),
            ({"block": "cmpe_se", "recalibrate": "branches"}, "use recalibrate='mixed'"),
            ({"stages": (4,)}, "this network has no stage 4 for a block; its stages are 1, 2, 3"),
        ],
    )
    def test_what_cannot_be_is_said(self, options: dict, message: str) -> None:
        with pytest.raises(UsageError, match=message):
            create_model("shake_shake26_2x32d", **({"block": "se"} | options))
