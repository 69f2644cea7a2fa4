"""The vocabulary of blocks."""

import json

import pytest

from senet import BlockSpec
from senet.blocks.competitive import VARIANT_OPTIONS
from senet.errors import UsageError
from senet.spec import KINDS, PLACEMENTS, InputSpec, check_placement, hidden_width, options_of

EVERY_OPTION = {
    "reduction": 4,
    "hidden": 3,
    "squeeze": "max",
    "gate": "tanh",
    "bias": False,
    "combine": "max",
    "variant": "folded_3x3",
    "maps": 2,
    "fold": "rows",
    "fold_size": 4,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("option", EVERY_OPTION)
def test_each_kind_has_its_options_and_no_others(kind: str, option: str) -> None:
    given = {option: EVERY_OPTION[option]}
    if option in VARIANT_OPTIONS["folded_3x3"] and kind == "cmpe_se":
        given["variant"] = "folded_3x3"
    if option in options_of(kind):
        assert BlockSpec(kind, **given).options == given
    else:
        with pytest.raises(UsageError, match=f"'{kind}' blocks have no option '{option}'; they have: {', '.join(options_of(kind))}"):
            BlockSpec(kind, **given)


@pytest.mark.parametrize("variant", VARIANT_OPTIONS)
@pytest.mark.parametrize("option", ["maps", "fold", "fold_size"])
def test_each_variant_has_its_options_and_no_others(variant: str, option: str) -> None:
    given = {"variant": variant, option: EVERY_OPTION[option]}
    if option in VARIANT_OPTIONS[variant]:
        assert BlockSpec("cmpe_se", **given).options == given
    else:
        with pytest.raises(UsageError, match=f"variant '{variant}' of CMPE-SE has no option '{option}'"):
            BlockSpec("cmpe_se", **given)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"kind": "cmpe"}, "did you mean 'cmpe_se'"),
        ({"kind": "scse", "combine": "sum"}, "unknown combine 'sum'.*allowed: add, max, multiply, concat"),
        ({"kind": "cmpe_se", "variant": "double"}, "did you mean 'double_fc'"),
        ({"kind": "cmpe_se", "variant": "folded_3x3", "fold": "column"}, "did you mean 'columns'"),
        ({"kind": "cmpe_se", "variant": "pair_1x1", "maps": 0}, "maps must be an integer of at least 1, got 0"),
        ({"kind": "scse", "reduction": {1: 2, 2: 0}}, "reduction must be an integer of at least 1, got 0"),
        ({"kind": "scse", "reduction": True}, "reduction must be an integer"),
        ({"kind": "se", "reduction": 4, "hidden": 4}, "not both"),
        ({"kind": "cmpe_se", "reduction": 4, "hidden": 4}, "not both"),
    ],
)
def test_impossible_specs_say_what_is_allowed(fields: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        BlockSpec(**fields)


@pytest.mark.parametrize(
    "spec",
    [
        BlockSpec("sse", bias=False),
        BlockSpec("scse", reduction={1: 2, 2: 4}, combine="concat"),
        BlockSpec("cmpe_se", variant="folded_3x3", maps=2, fold="rows", fold_size=4, bias=True),
    ],
    ids=str,
)
def test_plain_data_round_trip(spec: BlockSpec) -> None:
    assert BlockSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_unknown_fields_are_named() -> None:
    with pytest.raises(UsageError, match=r"unknown field of a block 'combin' \(did you mean 'combine'\?\)"):
        BlockSpec.from_dict({"kind": "scse", "combin": "max"})


def test_stages_are_resolved() -> None:
    spec = BlockSpec("cmpe_se", hidden={1: 2, 3: 8}, bias=True)
    assert spec.at_unit(3, 1) == BlockSpec("cmpe_se", hidden=8, bias=True)
    with pytest.raises(UsageError, match="nothing about stage 2; it names stages 1, 3"):
        spec.at_unit(2, 1)


def test_defaults_fill_what_the_block_has_and_nobody_set() -> None:
    family = {"maps": 5, "fold": "rows", "fold_size": 8}
    folded = BlockSpec("cmpe_se", variant="folded_3x3")
    assert BlockSpec("se").with_defaults(**family) == BlockSpec("se")
    assert BlockSpec("cmpe_se").with_defaults(**family) == BlockSpec("cmpe_se")
    assert BlockSpec("cmpe_se", variant="pair_1x1").with_defaults(**family) == BlockSpec("cmpe_se", variant="pair_1x1", maps=5)
    assert folded.with_defaults(**family).options == {"variant": "folded_3x3", **family}
    given = BlockSpec("cmpe_se", variant="folded_3x3", maps=2, fold="columns")
    assert given.with_defaults(**family) == given


def test_only_cmpe_se_is_bound_to_one_placement() -> None:
    for kind in KINDS:
        for placement in PLACEMENTS:
            if kind == "cmpe_se" and placement != "standard":
                with pytest.raises(UsageError, match=f"cannot take the placement '{placement}'; allowed: standard"):
                    check_placement(kind, placement)
            else:
                check_placement(kind, placement)


@pytest.mark.parametrize(("channels", "reduction", "width"), [(256, 16, 16), (5, 2, 2), (3, 16, 1), (1, 1, 1)])
def test_hidden_width_is_a_floor_and_at_least_one(channels: int, reduction: int, width: int) -> None:
    assert hidden_width(channels, reduction) == width


def test_images_are_rgb_unless_said_otherwise() -> None:
    fields = {"size": 224, "resize": 256, "channels": 3, "mean": (0.5,) * 3, "std": (0.5,) * 3}
    assert InputSpec(**fields).order == "rgb"  # files older than the field do not have it
    assert InputSpec(**fields, order="bgr") != InputSpec(**fields)
    with pytest.raises(UsageError, match=r"unknown channel order 'brg' \(did you mean 'rgb'\?\); allowed: rgb, bgr"):
        InputSpec(**fields, order="brg")
