"""Plans: read, narrowed, saved."""

import json

import pytest
import torchvision

import senet
from senet.errors import UsageError


@pytest.fixture(scope="module")
def plan() -> senet.InsertPlan:
    return senet.find_sites(torchvision.models.resnet18(), senet.BlockSpec("scse", reduction=4), placement="identity")


def test_json_round_trip(plan: senet.InsertPlan) -> None:
    assert senet.InsertPlan.from_json(plan.to_json()) == plan
    assert {site.position for site in plan} == {"output", "graph"}


def test_keep_narrows_by_stage_path_and_number(plan: senet.InsertPlan) -> None:
    assert [site.stage for site in plan.keep(stages=(3, 5))] == [3, 3, 5, 5]
    assert [site.path for site in plan.keep(paths=r"layer[34]\.1")] == ["layer3.1", "layer4.1"]
    assert [site.path for site in plan.keep(stages=(2,), limit=1)] == ["layer1.0"]
    assert len(plan) == 8


@pytest.mark.parametrize(
    ("narrow", "message"),
    [
        ({"stages": (7,)}, "no site is in stages 7; there are sites in stages 2, 3, 4, 5"),
        ({"paths": "layr1.0"}, "no path matches 'layr1.0'; near it: layer1.0, layer1.1"),
        ({"paths": "layer("}, "'layer\\(' is not a regular expression"),
        ({"limit": 0}, "limit must be at least 1, got 0"),
    ],
)
def test_keep_that_leaves_nothing_says_what_there_is(plan: senet.InsertPlan, narrow: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan.keep(**narrow)  # pyright: ignore[reportArgumentType]


def test_printed_plan_names_every_site(plan: senet.InsertPlan) -> None:
    text = str(plan)
    for site in plan:
        assert site.path in text
    assert "8 blocks in ResNet" in text
    assert "scse reduction=4" in text
    assert "behind x in BasicBlock" in text


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "{}", '{"model": "ResNet", "sites": [{}]}', '{"model": "ResNet", "sites": [{"block": {"kind": "se"}, "stag": 1}]}', "3"],
)
def test_what_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="plan"):
        senet.InsertPlan.from_json(text)


def test_plan_is_plain_data(plan: senet.InsertPlan) -> None:
    tree = plan.to_dict()
    assert json.loads(json.dumps(tree)) == json.loads(plan.to_json())
