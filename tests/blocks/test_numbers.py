"""Which numbers blocks and networks take: integers of any library as sizes, floating-point maps as inputs."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import senet
from senet.errors import UsageError
from senet.spec import whole

INTEGERS: dict[str, Callable[[int], Any]] = {
    "numpy.int64": np.int64,
    "numpy.uint8": np.uint8,
    "numpy.array": np.array,
    "torch.tensor": torch.tensor,
}

TAKERS: dict[str, Callable[[Any], Any]] = {
    "ChannelSE channels": lambda n: senet.ChannelSE(n),
    "ChannelSE reduction": lambda n: senet.ChannelSE(64, n),
    "ChannelSE hidden": lambda n: senet.ChannelSE(64, hidden=n),
    "SpatialSE channels": lambda n: senet.SpatialSE(n),
    "ChannelSpatialSE channels": lambda n: senet.ChannelSpatialSE(n),
    "ChannelSpatialSE reduction": lambda n: senet.ChannelSpatialSE(64, n),
    "CompetitiveSE channels": lambda n: senet.CompetitiveSE(n),
    "CompetitiveSE reduction": lambda n: senet.CompetitiveSE(64, n),
    "CompetitiveSE maps": lambda n: senet.CompetitiveSE(64, variant="pair_1x1", maps=n),
    "CompetitiveSE fold_size": lambda n: senet.CompetitiveSE(64, variant="folded_3x3", fold_size=n),
    "build_block": lambda n: senet.build_block(senet.BlockSpec("se", reduction=n), 64),
    "build_block channels": lambda n: senet.build_block(senet.BlockSpec("se"), n),
    "per stage": lambda n: senet.build_block(senet.BlockSpec("se", reduction={8: n}).at_unit(8, 1), 64),
    "create_model num_classes": lambda n: senet.create_model("se_preresnet20", num_classes=n, device="meta"),
    "create_model in_channels": lambda n: senet.create_model("se_preresnet20", in_channels=n, device="meta"),
    "create_model reduction": lambda n: senet.create_model("preresnet20", block="se", reduction=n, device="meta"),
    "create_model of another library": lambda n: senet.create_model("torchvision/resnet18", num_classes=n, in_channels=n, device="meta"),
}
"""What takes an integer, here 8."""


@pytest.mark.parametrize("make", INTEGERS.values(), ids=INTEGERS)
@pytest.mark.parametrize("taker", TAKERS)
def test_integers_of_any_library_are_integers(taker: str, make: Callable[[int], Any]) -> None:
    given, wanted = TAKERS[taker](make(8)), TAKERS[taker](8)
    assert repr(given) == repr(wanted)
    assert {name: tensor.shape for name, tensor in given.state_dict().items()} == {n: t.shape for n, t in wanted.state_dict().items()}
    if hasattr(given, "config"):
        assert json.dumps(given.config.to_dict()) == json.dumps(wanted.config.to_dict())


@pytest.mark.parametrize("value", [True, np.bool_(True), torch.tensor(True), 8.0, np.float64(8), torch.tensor(8.0), "8", None, [8], 0, -8])
@pytest.mark.parametrize(
    "taker", ["ChannelSE channels", "ChannelSE reduction", "SpatialSE channels", "CompetitiveSE channels", "build_block"]
)
def test_all_else_is_refused_in_one_line(taker: str, value: Any) -> None:
    if taker == "build_block" and value is None:
        return  # the default
    with pytest.raises(UsageError, match="must be an integer of at least 1, got") as raised:
        TAKERS[taker](value)
    assert "\n" not in str(raised.value)


def test_stages_units_and_maps_may_be_of_numpy() -> None:
    stages = np.arange(1, 3)
    model = senet.create_model("preresnet20", block="se", stages=tuple(stages), omitted=((np.int64(1), np.int64(2)),), device="meta")
    same = senet.create_model("preresnet20", block="se", stages=(1, 2), omitted=((1, 2),), device="meta")
    assert json.dumps(model.config.to_dict()) == json.dumps(same.config.to_dict())
    features = senet.create_model("preresnet20", features_only=True, out_indices=(np.int64(1),))
    assert features(torch.randn(1, 3, 32, 32))[0].shape == (1, 32, 16, 16)
    with pytest.raises(UsageError, match=r"omitted holds units as \(stage, index"):
        senet.create_model("preresnet20", block="se", omitted=((1.5, 2),), device="meta")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("as_given", [np.array, torch.tensor, list, set, frozenset, lambda stages: dict.fromkeys(stages).keys()])
def test_stages_may_be_any_collection(as_given: Callable[[list[int]], Any]) -> None:
    model = senet.create_model("preresnet20", block="se", stages=as_given([1, 2]), device="meta")
    assert model.config.options["stages"] == (1, 2)  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("as_given", [np.array, torch.tensor, list, tuple])
def test_units_may_be_rows_of_an_array(as_given: Callable[[Any], Any]) -> None:
    model = senet.create_model("preresnet20", block="se", omitted=as_given([[1, 2], [2, 1]]), device="meta")
    assert model.config.options["omitted"] == ((1, 2), (2, 1))  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("stages", [1, np.int64(1), torch.tensor(1), 1.5, "12", {1: 2}])
def test_what_is_no_collection_of_stages_is_one_line(stages: Any) -> None:
    with pytest.raises(UsageError, match=r"^stages are the numbers of stages, such as \(3, 4\), got "):
        senet.create_model("preresnet20", block="se", stages=stages)


def test_whole_numbers() -> None:
    assert [whole(value) for value in (3, np.int8(3), torch.tensor(3))] == [3, 3, 3]
    assert [whole(value) for value in (3.0, True, "3", np.bool_(True), torch.tensor(True), None, np.ones(2, int), torch.tensor([3]))] == [
        None
    ] * 8


BLOCKS: dict[str, Callable[[], nn.Module]] = {
    "se": lambda: senet.ChannelSE(8),
    "se max": lambda: senet.ChannelSE(8, squeeze="max"),
    "se none": lambda: senet.ChannelSE(8, squeeze="none"),
    "sse": lambda: senet.SpatialSE(8),
    "scse": lambda: senet.ChannelSpatialSE(8),
    "scse concat": lambda: senet.ChannelSpatialSE(8, combine="concat"),
}


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int32, torch.int64, torch.bool])
@pytest.mark.parametrize("name", [*BLOCKS, "cmpe_se"])
def test_maps_of_integers_are_refused_with_the_remedy(name: str, dtype: torch.dtype) -> None:
    x = torch.ones(2, 8, 4, 4).to(dtype)
    with pytest.raises(UsageError, match=rf"{dtype} cannot hold them: give the block floating-point maps: x\.float\(\)"):
        senet.CompetitiveSE(8)(x, x) if name == "cmpe_se" else BLOCKS[name]()(x)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("name", BLOCKS)
def test_maps_of_every_floating_type_are_taken(name: str, dtype: torch.dtype) -> None:
    assert BLOCKS[name]()(torch.ones(2, 8, 4, 4, dtype=dtype)).dtype == dtype


def test_a_shortcut_of_integers_is_refused() -> None:
    with pytest.raises(UsageError, match="floating-point"):
        senet.CompetitiveSE(8)(torch.ones(2, 8, 4, 4), torch.ones(2, 8, 4, 4, dtype=torch.uint8))
