"""Networks with sSE, scSE and CMPE-SE: the counts of the papers and of the authors' code, and where the blocks act."""

import pytest
import torch

from senet import BlockSpec, CompetitiveSE, create_model, list_models
from senet.errors import UsageError
from senet.models.create import model_from_config
from senet.models.registry import PLAIN
from senet.models.unit_blocks import UnitBlocks
from senet.spec import KINDS, Recalibration

STEM_BN = 32  # the BN after the stem that only the authors' Wide ResNets have
COUNTS = {  # of the authors' code, run; WRN with its stem BN
    ("preresnet164", "se"): 1_896_794,
    ("preresnet164", "double_fc"): 2_090_330,
    ("preresnet164", "pair_2x1"): 1_897_298,
    ("preresnet164", "pair_1x1"): 1_993_940,
    ("preresnet164", "folded_3x3"): 1_956_644,
    ("wrn28_10", "se"): 36_748_026,
    ("wrn28_10", "double_fc"): 37_016_826,
    ("wrn28_10", "pair_2x1"): 36_749_146,
    ("wrn28_10", "pair_1x1"): 36_883_266,
    ("wrn28_10", "folded_3x3"): 36_848_546,
    ("wrn16_8", "se"): 11_047_418,
    ("wrn16_8", "pair_1x1"): 11_090_762,
    ("wrn22_10", "se"): 26_999_546,
    ("wrn22_10", "pair_1x1"): 27_100_976,
}
BASIC = {  # derived: the repository has no network of basic blocks; the paper prints 1.76M for pair_1x1
    ("preresnet110", "pair_1x1"): 1_749_044,
    ("preresnet110", "double_fc"): 1_754_714,
}
PREFIXES = ("se_", "sse_", "scse_", "cmpe_se_")


def parameters(name: str, **options: object) -> int:
    return sum(p.numel() for p in create_model(name, device="meta", **options).parameters())


def spec_of(variant: str) -> BlockSpec:
    return BlockSpec("se", bias=False) if variant == "se" else BlockSpec("cmpe_se", variant=variant)


@pytest.mark.parametrize(("name", "variant"), COUNTS)
def test_counts_of_the_authors_code(name: str, variant: str) -> None:
    count = COUNTS[name, variant]
    if name.startswith("wrn"):
        assert parameters(name, block=spec_of(variant)) == count - STEM_BN
        assert parameters(name, block=spec_of(variant), stem_bn=True, input_bn=True) == count
    else:
        assert parameters(name, block=spec_of(variant), v1_5=True, input_bn=True) == count


@pytest.mark.parametrize(("name", "variant"), BASIC)
def test_counts_of_basic_blocks(name: str, variant: str) -> None:
    widths = [(channels, max(1, channels // 16), channels // 16) for channels in (16, 32, 64)]
    per_block = {
        "pair_1x1": [h * 2 * c + c * h + 3 * m for c, h, m in widths],
        "double_fc": [2 * h * c + c * 2 * h for c, h, _ in widths],
    }
    assert parameters(name) + 18 * sum(per_block[variant]) == BASIC[name, variant]
    assert parameters(name, block=spec_of(variant)) == BASIC[name, variant]


def test_families_say_what_none_stands_for() -> None:
    def looks(name: str, stage: str) -> tuple[int, int]:
        block = create_model(name, device="meta", block=spec_of("folded_3x3")).get_submodule(f"{stage}.1.se")
        return block.conv.out_channels, block.columns

    assert [looks("preresnet164", f"layer{i}") for i in (1, 2, 3)] == [(1, 16), (2, 16), (4, 16)]
    assert [looks("wrn28_10", f"layer{i}") for i in (1, 2, 3)] == [(10, 16), (20, 32), (40, 64)]
    assert [looks("resnet50", f"layer{i}") for i in (1, 2, 3, 4)] == [(4, 16), (8, 16), (16, 16), (32, 16)]


def test_given_options_win_over_the_family() -> None:
    spec = BlockSpec("cmpe_se", variant="folded_3x3", maps=3, fold="columns", fold_size=32)
    block = create_model("wrn16_8", device="meta", block=spec).layer1[0].se
    assert (block.conv.out_channels, block.columns) == (3, 32)
    by_columns = create_model("wrn16_8", device="meta", block=BlockSpec("cmpe_se", variant="folded_3x3", fold="columns")).layer1[0].se
    assert by_columns.columns == 16  # the family's size counts rows: the block's own default stands
    rows = create_model("wrn16_8", device="meta", block=BlockSpec("cmpe_se", variant="folded_3x3", fold_size=4)).layer1[0].se
    assert rows.columns == 32


def test_a_fold_that_the_widths_do_not_allow_is_refused() -> None:
    with pytest.raises(UsageError, match="16 channels fold to 1 rows of 16"):
        create_model("preresnet110", device="meta", block=spec_of("folded_3x3"))
    assert create_model("preresnet110", device="meta", block=BlockSpec("cmpe_se", variant="folded_3x3", fold_size=8)).config.name


@pytest.mark.parametrize("reduction", [2, 16])
def test_scse_adds_its_formula(reduction: int) -> None:
    def block(channels: int) -> int:
        hidden = channels // reduction
        return 2 * channels * hidden + hidden + channels + channels + 1

    added = sum(count * block(width) for count, width in zip((3, 4, 6, 3), (256, 512, 1024, 2048), strict=True))
    assert parameters("scse_resnet50", reduction=reduction) - parameters("resnet50") == added


def test_sse_adds_one_weight_a_channel() -> None:
    added = sum(count * (width + 1) for count, width in zip((3, 4, 6, 3), (256, 512, 1024, 2048), strict=True))
    assert parameters("sse_resnet50") - parameters("resnet50") == added


def test_plain_names_take_the_prefixes_of_their_family() -> None:
    names = list_models()
    plain = [name for name in names if not name.startswith(PREFIXES)]
    prefixed = [f"{kind}_{name}" for name in plain for kind in KINDS if PLAIN[name].takes(kind)]
    assert sorted(names) == sorted(plain + prefixed)


SMALL = ("resnet18", "resnet50", "cifar_resnet20", "preresnet20", "wrn16_8")


@pytest.mark.parametrize("name", [*(prefix + name for prefix in PREFIXES[1:] for name in SMALL), "cmpe_se_preresnet164"])
def test_networks_train(name: str) -> None:
    torch.manual_seed(0)
    reduction = None if name.startswith("sse_") else 2  # hidden units of which few are dead for two images
    model = create_model(name, num_classes=5, reduction=reduction)
    model(torch.randn(2, 3, 33, 47)).square().sum().backward()
    assert [key for key, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def randomised(name: str, **options: object) -> torch.nn.Module:
    torch.manual_seed(0)
    model = create_model(name, **options).double().eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            if module.affine:
                torch.nn.init.uniform_(module.weight, 0.5, 1.5)
                torch.nn.init.normal_(module.bias)
            torch.nn.init.normal_(module.running_mean)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model


@pytest.mark.parametrize("index", [0, 1], ids=["projected", "identity"])
@pytest.mark.parametrize("variant", ["double_fc", "pair_2x1", "pair_1x1", "folded_3x3"])
def test_post_activation_units_show_the_projected_shortcut(variant: str, index: int) -> None:
    unit = randomised("resnet18", block=spec_of(variant)).layer2[index]
    x = torch.randn(2, 64 if index == 0 else 128, 9, 7, dtype=torch.float64)
    residual = unit.bn2(unit.conv2(torch.relu(unit.bn1(unit.conv1(x)))))
    shortcut = x if unit.downsample is None else unit.downsample(x)
    torch.testing.assert_close(unit(x), torch.relu(unit.se(residual, shortcut) + shortcut), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("index", [0, 1], ids=["projected", "identity"])
def test_preactivation_units_show_the_raw_or_the_projected_shortcut(index: int) -> None:
    unit = randomised("preresnet164", block=spec_of("pair_1x1")).layer1[index]
    x = torch.randn(2, 16 if index == 0 else 64, 8, 8, dtype=torch.float64)
    activated = torch.relu(unit.bn1(x))
    residual = unit.conv3(torch.relu(unit.bn3(unit.conv2(torch.relu(unit.bn2(unit.conv1(activated)))))))
    shortcut = x if unit.downsample is None else unit.downsample(activated)
    torch.testing.assert_close(unit(x), unit.se(residual, shortcut) + shortcut, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["sse", "scse"])
@pytest.mark.parametrize("placement", ["standard", "pre", "post", "identity", "inner"])
def test_spatial_kinds_take_every_placement(kind: str, placement: str) -> None:
    model = create_model(f"{kind}_cifar_resnet20", placement=placement).eval()
    assert model(torch.randn(1, 3, 32, 32)).shape == (1, 10)


def test_stem_of_the_authors_wide_networks() -> None:
    model = randomised("cmpe_se_wrn16_8", stem_bn=True, input_bn=True)
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    statistics = model.bn0.running_mean[:, None, None], (model.bn0.running_var[:, None, None] + 1e-5).sqrt()
    want = model.bn1(model.conv1((x - statistics[0]) / statistics[1]))
    assert list(model.bn0.parameters()) == []
    torch.testing.assert_close(model.stem(x), want, rtol=1e-12, atol=1e-12)


def test_config_builds_the_same_network_again() -> None:
    spec = BlockSpec("cmpe_se", variant="folded_3x3", fold_size=8, maps=2)
    model = create_model("preresnet20", block=spec, stem_bn=True).eval()
    assert model.config.name == "cmpe_se_preresnet20"
    again = model_from_config(model.config.to_dict()).eval()
    again.load_state_dict(model.state_dict())
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(again(x), model(x))


def test_a_rule_may_mix_kinds() -> None:
    def by_stage(stage: int, index: int, channels: int) -> BlockSpec:
        return BlockSpec({1: "se", 2: "cmpe_se", 3: "scse"}[stage])

    model = create_model("preresnet20", block=by_stage).eval()
    assert isinstance(model.layer2[0].se, CompetitiveSE)
    assert model(torch.randn(1, 3, 32, 32)).shape == (1, 10)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("cmpe_se_resnet18", {"placement": "pre"}, "'cmpe_se' blocks cannot take the placement 'pre'; allowed: standard"),
        ("resnet18", {"block": lambda *unit: BlockSpec("cmpe_se"), "placement": "post"}, "cannot take the placement 'post'"),
        ("sse_resnet18", {"reduction": 4}, "'sse' blocks have no option 'reduction'; they have: bias"),
        ("cmp_se_resnet18", {}, "did you mean 'cmpe_se_resnet18'"),
        ("cmpe_se_wrn28_10", {"block": "se"}, "already names its block"),
    ],
)
def test_impossible_requests_say_what_is_allowed(name: str, options: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        create_model(name, device="meta", **options)


def test_units_without_a_shortcut_refuse_to_compete() -> None:
    with pytest.raises(UsageError, match="not every unit of this network has: use 'se'"):
        UnitBlocks(Recalibration(BlockSpec("cmpe_se"))).build(1, 1, 16)
