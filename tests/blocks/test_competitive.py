"""CMPE-SE: the shapes of the authors' code, its folds, and the BN inside."""

import pytest
import torch
from torch import Tensor, nn

from oracles import numpy_blocks as oracle
from senet import CompetitiveSE
from senet.errors import UsageError

SHAPES = {  # (options for C = 64) -> weights; m = 4 maps, h = 4
    "double_fc": ({}, {"fc_residual": (4, 64), "fc_identity": (4, 64), "fc_out": (64, 8)}),
    "pair_2x1": ({}, {"conv": (4, 1, 1, 2), "bn": (4,), "fc1": (4, 64), "fc2": (64, 4)}),
    "pair_1x1": ({}, {"conv": (4, 1, 1, 1), "bn": (4,), "fc1": (4, 128), "fc2": (64, 4)}),
    "folded_3x3": ({}, {"conv": (4, 1, 3, 3), "bn": (4,), "fc1": (4, 6 * 14), "fc2": (64, 4)}),
    "folded_3x3 rows": ({"fold": "rows", "fold_size": 8}, {"conv": (4, 1, 3, 3), "bn": (4,), "fc1": (4, 14 * 6), "fc2": (64, 4)}),
}


def maps(seed: int, channels: int, batch: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    u, x = torch.randn(2, batch, channels, 5, 3, generator=generator, dtype=torch.float64)
    return u, x


@pytest.mark.parametrize("name", SHAPES)
def test_layers_have_the_shapes_of_the_authors_code(name: str) -> None:
    options, shapes = SHAPES[name]
    block = CompetitiveSE(64, variant=name.split()[0], **options)
    assert {key.removesuffix(".weight"): tuple(p.shape) for key, p in block.named_parameters() if key.endswith("weight")} == shapes
    assert [key for key, _ in block.named_parameters() if key.endswith("bias")] == (["bn.bias"] if "bn" in shapes else [])


@pytest.mark.parametrize("variant", ["pair_2x1", "pair_1x1", "folded_3x3"])
def test_running_statistics_serve_evaluation(variant: str) -> None:
    torch.manual_seed(0)
    fold = {"fold_size": 4} if variant == "folded_3x3" else {}
    block = CompetitiveSE(12, reduction=4, variant=variant, maps=2, **fold).double()
    for seed in range(3):
        block(*maps(seed, 12))
    assert block.bn.num_batches_tracked == 3
    u, x = maps(9, 12)
    arrays = {key: value.numpy() for key, value in block.state_dict().items()}
    gate = oracle.competitive_gate(u.numpy(), x.numpy(), arrays, variant, fold.get("fold_size"), statistics=arrays)
    torch.testing.assert_close(block.eval().gate(u, x), torch.from_numpy(gate), rtol=1e-12, atol=1e-12)


def test_statistics_move_by_one_tenth() -> None:
    block = CompetitiveSE(12, variant="pair_2x1", maps=1).double()
    nn.init.ones_(block.conv.weight)
    u, x = maps(0, 12)
    sums = (u + x).mean((2, 3))
    block(u, x)
    torch.testing.assert_close(block.bn.running_mean, 0.1 * sums.mean()[None])
    torch.testing.assert_close(block.bn.running_var, 0.9 + 0.1 * sums.var()[None])


def test_half_weights_keep_their_statistics() -> None:
    torch.manual_seed(0)
    block = CompetitiveSE(12, variant="pair_1x1", maps=2).bfloat16()
    twin = CompetitiveSE(12, variant="pair_1x1", maps=2).double()
    twin.load_state_dict(block.state_dict())
    for seed in range(2):
        u, x = (tensor.bfloat16() for tensor in maps(seed, 12))
        block(u, x)
        twin(u.double(), x.double())
    assert block.bn.num_batches_tracked == 2
    assert block.bn.running_mean.dtype == torch.bfloat16
    torch.testing.assert_close(block.bn.running_mean.double(), twin.bn.running_mean, rtol=0.02, atol=1e-3)
    torch.testing.assert_close(block.bn.running_var.double(), twin.bn.running_var, rtol=0.02, atol=1e-3)


def test_synchronised_bn_takes_the_place_of_bn() -> None:
    torch.manual_seed(0)
    block = CompetitiveSE(12, variant="pair_1x1").double().eval()
    u, x = maps(0, 12)
    want = block(u, x)
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(block)
    assert isinstance(converted.bn, nn.SyncBatchNorm)
    assert torch.equal(converted(u, x), want)


def test_the_shortcut_decides_too() -> None:
    torch.manual_seed(0)
    for variant in ("double_fc", "pair_2x1", "pair_1x1", "folded_3x3"):
        block = CompetitiveSE(32, variant=variant).double()
        (u, x), (_, other) = maps(0, 32), maps(1, 32)
        assert not torch.allclose(block.gate(u, x), block.gate(u, other))
        assert not torch.allclose(block.gate(u, x), block.gate(x, u))


@pytest.mark.parametrize(
    ("fold", "size", "rows", "columns"), [("columns", 4, 3, 4), ("rows", 4, 4, 3), ("columns", 3, 4, 3), ("rows", 2, 2, 6)]
)
def test_folds(fold: str, size: int, rows: int, columns: int) -> None:
    block = CompetitiveSE(12, variant="folded_3x3", fold=fold, fold_size=size)
    assert block.columns == columns
    assert block.fc1.in_features == (2 * rows - 2) * (columns - 2)


def test_maps_default_to_a_sixteenth_of_the_channels() -> None:
    assert [CompetitiveSE(c, variant="pair_1x1").conv.out_channels for c in (8, 16, 47, 160)] == [1, 1, 2, 10]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"channels": 0}, "channels must be an integer"),
        ({"channels": 64, "variant": "conv_1x1"}, "did you mean 'pair_1x1'"),
        ({"channels": 64, "reduction": 0}, "reduction must be"),
        ({"channels": 64, "hidden": 0}, "hidden must be"),
        ({"channels": 64, "maps": 4}, "'double_fc' of CMPE-SE has no option 'maps'; these have: pair_2x1, pair_1x1, folded_3x3"),
        ({"channels": 64, "variant": "pair_1x1", "fold": "rows"}, "no option 'fold'; these have: folded_3x3"),
        ({"channels": 64, "variant": "pair_1x1", "maps": 0}, "maps must be"),
        ({"channels": 64, "variant": "folded_3x3", "fold": "row"}, "did you mean 'rows'"),
        ({"channels": 64, "variant": "folded_3x3", "fold_size": 0}, "fold_size must be"),
        ({"channels": 60, "variant": "folded_3x3"}, "60 channels cannot be folded to 16 columns: fold_size must divide"),
        ({"channels": 64, "variant": "folded_3x3", "fold": "rows", "fold_size": 10}, "64 channels cannot be folded to 10 rows"),
        ({"channels": 16, "variant": "folded_3x3"}, "16 channels fold to 1 rows of 16"),
        ({"channels": 16, "variant": "folded_3x3", "fold": "rows", "fold_size": 8}, "16 channels fold to 8 rows of 2"),
    ],
)
def test_impossible_options_say_what_is_allowed(arguments: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        CompetitiveSE(**arguments)


def test_branch_and_shortcut_must_agree() -> None:
    u, x = maps(0, 12)
    with pytest.raises(UsageError, match=r"one shape, got \(4, 12, 5, 3\) and \(4, 12, 5, 2\)"):
        CompetitiveSE(12).double()(u, x[..., :2])
