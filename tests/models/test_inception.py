"""BN-Inception and Inception-ResNet-v2: where their blocks sit, and what they refuse."""

import pytest
import torch
from torch import nn

from senet import BlockSpec, create_model, list_models, profile
from senet.errors import UsageError
from senet.models.bn_inception import HalvingMaxPool
from senet.models.inception_resnet import InceptionResidualUnit

HIDDEN = [16, 20, 36, 36, 36, 38, 38, 66, 64, 64]
"""Of the release's prototxt."""


def blocks(model: nn.Module) -> list[str]:
    return [name for name, _ in model.named_modules() if name.endswith(".se")]


def units(model: nn.Module) -> list[InceptionResidualUnit]:
    return [module for module in model.modules() if isinstance(module, InceptionResidualUnit)]


def test_bn_inception_recalibrates_every_concatenation() -> None:
    model = create_model("se_bn_inception", device="meta")
    assert blocks(model) == [f"stage{stage}.{letter}.se" for stage, letters in ((3, "abc"), (4, "abcde"), (5, "ab")) for letter in letters]
    assert [model.get_submodule(path).hidden for path in blocks(model)] == HIDDEN
    assert not any(isinstance(module, nn.Conv2d) and module.bias is not None for module in model.modules())


def test_modules_are_counted_from_1_in_their_stage() -> None:
    seen = []
    create_model("bn_inception", device="meta", block=lambda *unit: seen.append(unit))
    assert seen[:5] == [(3, 1, 256), (3, 2, 320), (3, 3, 576), (4, 1, 576), (4, 2, 576)]
    assert seen[7:] == [(4, 5, 1056), (5, 1, 1024), (5, 2, 1024)]


def test_stages_are_the_papers_and_not_the_levels() -> None:
    assert blocks(create_model("se_bn_inception", device="meta", stages=(5,))) == ["stage5.a.se", "stage5.b.se"]
    features = create_model("se_bn_inception", device="meta", features_only=True)
    assert [[type(module).__name__ for module in level] for level in features.network.levels] == [
        ["InceptionModule"] * n for n in (2, 5, 3)
    ]


@pytest.mark.parametrize("size", [(8, 12), (7, 9), (7, 12), (1, 1)])
def test_halving_pool_gives_what_padded_convolutions_give(size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size)
    got = HalvingMaxPool()(x)
    assert got.shape == nn.Conv2d(3, 3, 3, stride=2, padding=1)(x).shape
    want = [[x[:, :, row : row + 3, column : column + 3].amax((2, 3)) for column in range(0, size[1], 2)] for row in range(0, size[0], 2)]
    assert torch.equal(got, torch.stack([torch.stack(row, 2) for row in want], 2))


@pytest.mark.parametrize("side", [32, 64, 224])
def test_halving_pool_is_the_releases_at_even_sizes(side: int) -> None:
    x = torch.randn(1, 2, side, side)
    assert torch.equal(HalvingMaxPool()(x), nn.MaxPool2d(3, stride=2, ceil_mode=True)(x))


@pytest.mark.parametrize("size", [(75, 91), (33, 50), (299, 171)])
def test_bn_inception_takes_sizes_at_which_the_releases_maps_do_not_fit(size: tuple[int, int]) -> None:
    assert create_model("bn_inception", device="meta")(torch.empty(1, 3, *size, device="meta")).shape == (1, 1000)


def test_inception_resnet_recalibrates_residuals_and_concatenations() -> None:
    model = create_model("se_inception_resnet_v2", device="meta")
    assert blocks(model) == [f"stage{stage}.{unit}.se" for stage, count in ((3, 10), (4, 20), (5, 10)) for unit in range(count + 1)]
    assert len(blocks(model)) == 43
    assert [list(model.get_submodule(f"stage{stage}.0").branches) for stage in (3, 4, 5)] == [
        ["1x1", "5x5", "double_3x3", "pool"],
        ["3x3", "double_3x3", "pool"],
        ["3x3", "narrow_3x3", "double_3x3", "pool"],
    ]


@pytest.mark.parametrize(("counts", "number"), [((10, 20, 10), 40), ((5, 20, 5), 30), ([1, 1, 1], 3)])
def test_counts_and_scales(counts: tuple[int, ...], number: int) -> None:
    model = create_model("inception_resnet_v2", device="meta", counts=counts)
    scales = [scale for count, scale in zip(counts, (0.17, 0.10, 0.20), strict=True) for _ in range(count)]
    assert [unit.scale for unit in units(model)] == [*scales[:-1], 1.0]
    assert [unit.relu for unit in units(model)] == [True] * (number - 1) + [False]


def test_a_residual_is_recalibrated_before_it_is_scaled() -> None:
    torch.manual_seed(0)
    model = create_model("inception_resnet_v2", counts=(1, 1, 2), block=BlockSpec("se", gate="relu")).double().eval()
    unit, x = units(model)[0], torch.randn(2, 320, 5, 5, dtype=torch.float64)
    maps = torch.cat([branch(x) for branch in unit.branches.values()], 1)
    torch.testing.assert_close(unit(x), torch.relu(x + 0.17 * unit.se(unit.up(maps))))


def test_dropout_is_that_of_the_options() -> None:
    assert create_model("inception_resnet_v2", device="meta").dropout == 0.2
    assert create_model("inception_resnet_v2", device="meta", dropout=0.0).dropout == 0.0
    assert create_model("bn_inception", device="meta").dropout == 0.0


@pytest.mark.parametrize(
    ("name", "options", "printed"),
    [
        ("bn_inception", {}, 2.03),
        ("se_bn_inception", {}, 2.04),
        ("inception_resnet_v2", {"counts": (5, 20, 5)}, 11.75),
    ],
)
def test_multiplications_are_those_of_table_2(name: str, options: dict, printed: float) -> None:
    assert profile(create_model(name, device="meta", **options), latency=False).macs / 1e9 == pytest.approx(printed, abs=0.02)


@pytest.mark.parametrize("name", ["bn_inception", "inception_resnet_v2"])
def test_prefixes_of_networks_whose_concatenations_have_no_shortcut(name: str) -> None:
    assert set(list_models(f"*{name}")) == {name, f"se_{name}", f"sse_{name}", f"scse_{name}"}


@pytest.mark.parametrize("kind", ["sse", "scse"])
@pytest.mark.parametrize(("name", "options", "size"), [("bn_inception", {}, 75), ("inception_resnet_v2", {"counts": (1, 1, 1)}, 80)])
def test_other_blocks_and_odd_images(kind: str, name: str, options: dict, size: int) -> None:
    model = create_model(f"{kind}_{name}", num_classes=3, in_channels=1, **options).eval()
    assert model(torch.randn(1, 1, size, size + 13)).shape == (1, 3)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("inception_resnet_v2", {"counts": (10, 20)}, r"three integers of at least 1, .* such as \(5, 20, 5\); got \(10, 20\)"),
        ("inception_resnet_v2", {"counts": (10, 0, 10)}, r"got \(10, 0, 10\)"),
        ("inception_resnet_v2", {"counts": (10, 2.5, 10)}, "three integers"),
        ("inception_resnet_v2", {"counts": 10}, "got 10"),
        ("inception_resnet_v2", {"count": (5, 20, 5)}, "did you mean 'counts'"),
        ("se_inception_resnet_v2", {"placement": "post"}, "standard only, got 'post'"),
        ("se_bn_inception", {"placement": "inner"}, "standard only, got 'inner'"),
        ("se_bn_inception", {"stages": (2,)}, "its stages are 3, 4, 5"),
        ("bn_inception", {"counts": (1, 1, 1)}, "no option 'counts'"),
        ("bn_inception", {"block": "cmpe_se"}, "shortcut"),
        ("inception_resnet_v2", {"block": "cmpe_se"}, "shortcut"),
        ("cmpe_se_inception_resnet_v2", {}, "unknown model"),
    ],
)
def test_impossible_requests_say_what_is_allowed(name: str, options: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        create_model(name, device="meta", **options)
