"""Plans that others wrote: names are names, values are of their sets, and nothing of them runs, hangs or allocates."""

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import senet
from insertion.made_plans import IMAGES, network
from mutation import places, with_value
from senet.errors import UsageError
from senet.insertion.apply import apply
from senet.insertion.plan import Site
from senet.insertion.rewrite import Edit
from senet.insertion.written import PLAN, SITE

CODE = [
    'se", None) or getattr(open("ran", "w"), "close',
    "se\nopen('ran', 'w')",
    "__import__('os').mkdir('ran')",
    "se.x",
    "../ran",
    "https://host/ran",
    "ran.py:Class",
    "forward",
    "conv1",
    "\x1b[31m",
    "",
]


@pytest.fixture(scope="module")
def tree() -> dict[str, Any]:
    """A plan of blocks inside modules and of wrappers, as plain data."""
    plan = senet.find_sites(network(), senet.BlockSpec("se", hidden=2), example_input=IMAGES, placement="identity")
    wrapped = senet.find_sites(network(), "sse", example_input=IMAGES, at=r"\d\.conv2")
    return json.loads(replace(plan, sites=plan.sites + wrapped.sites, notes=("a note",)).to_json())


def test_the_plan_itself_is_carried_out(tree: dict[str, Any]) -> None:
    assert {site["position"] for site in tree["sites"]} == {"graph", "output"}
    apply(network(), senet.InsertPlan.from_dict(tree), IMAGES)


def test_every_field_has_a_rule() -> None:
    assert SITE.keys() == {field.name for field in fields(Site)}
    assert PLAN.keys() | {"sites"} == {field.name for field in fields(senet.InsertPlan)}


@pytest.mark.parametrize("code", CODE)
def test_text_in_a_plan_is_never_run(tree: dict[str, Any], code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    remarks = {("notes", 0), *(("sites", number, "note") for number in range(len(tree["sites"])))}
    for place in [place for place in places(tree) if place not in remarks]:
        for changed in (with_value(tree, place, code), with_value(tree, place, [code])):
            model = network()
            try:
                apply(model, senet.InsertPlan.from_dict(changed), IMAGES)
            except UsageError as error:
                assert str(error).isprintable(), place  # noqa: PT017 - a plan that can be carried out all the same is right, too
            model(IMAGES)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "field", ["name", "node", "users", "shortcut", "position", "kind", "placement", "host", "path", "container", "gain"]
)
@pytest.mark.parametrize("code", CODE[:2])
def test_a_site_cannot_even_be_constructed_with_code_in_a_name(tree: dict[str, Any], field: str, code: str) -> None:
    site = senet.InsertPlan.from_dict(tree).sites[0]
    value: Any = (code,) if field == "users" else code
    with pytest.raises(UsageError, match=rf"site of a plan: {field}"):
        replace(site, **{field: value})


@pytest.mark.parametrize("change", [{"name": CODE[0]}, {"name": "se.x"}, {"gain": "1"}, {"gain": float("nan")}])
def test_what_ends_in_source_is_checked_where_the_source_is_made(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="of a block: expected"):
        Edit(**{"name": "se", "node": "x", "users": ("add",)} | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "se2", "existing": 1}, r"plan: sites\[0\]\.existing: expected true or false, got 1"),
        ({"channels": 10**12}, "from 1 to 1048576"),
        ({"channels": 4}, "recalibrates 4 channels, but the map there has 8"),
        ({"users": ["relu_1"]}, "'relu_1' does not come behind the block"),
        ({"users": ["conv1"], "node": "add"}, "'conv1' does not come behind the block"),
        ({"users": ["nothing"]}, "has no value 'nothing'"),
        ({"users": []}, "node and users belong to the position 'graph'"),
        ({"shortcut": "conv1"}, "'se' takes no shortcut"),
        ({"block": {"kind": "cmpe_se"}}, "'cmpe_se' takes a shortcut too"),
        ({"block": {"kind": "se", "hidden": 10**12}}, "have 17,000,000,000,008 weights, more than 200,000,000"),
        ({"block": {"kind": "se", "hidden": {"x": 2}}}, r"block\.hidden: a key: expected"),
        ({"block": {"kind": "se", "bias": "yes"}}, "bias must be true or false, got 'yes'"),
        ({"block": {"kind": "se", "self": 1}}, "unknown field of a block 'self'"),
        ({"block": {"kind": "own.py:Block"}}, "no reason to run that code"),
        ({"axis": 5}, "expected 1 to 4, or -1, got 5"),
    ],
)
def test_what_a_site_cannot_be(tree: dict[str, Any], change: dict[str, Any], message: str) -> None:
    changed = with_value(tree, ("sites", 0), tree["sites"][0] | change)
    with pytest.raises(UsageError, match=message):
        apply(network(), senet.InsertPlan.from_dict(changed), IMAGES)


def test_a_block_does_not_take_the_name_of_a_child(tree: dict[str, Any]) -> None:
    model = network()
    model.get_submodule("1").add_module("se", nn.Conv2d(8, 8, 1))
    with pytest.raises(UsageError, match="1 has something else under the name 'se'"):
        apply(model, senet.InsertPlan.from_dict(tree), IMAGES)


@pytest.mark.parametrize(
    "content",
    ["[" * 10**6, '{"sites": ' * 10**5, "9" * 10**4, '{"model": "A", "model": "B", "sites": []}', "NaN", "\x00", '"' + "x" * 10**6],
)
def test_json_that_is_no_plan(content: str) -> None:
    with pytest.raises(UsageError, match=r"^plan: ") as raised:
        senet.InsertPlan.from_json(content)
    assert len(str(raised.value)) < 300
    assert str(raised.value).isprintable()
