import shlex

import pytest

from senet.cli.arguments import add_recipe, command_parser, recipe_of
from senet.comparison.variants import command_line, expand, parse_vary
from senet.errors import UsageError
from senet.recipe import Recipe, build_recipe, load_recipe, override
from senet.spec import BlockSpec


@pytest.fixture
def digits() -> Recipe:
    return load_recipe("digits")


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("block=none,se", ("model.block", ["none", "se"])),
        ("model.reduction=2,4", ("model.reduction", [2, 4])),
        ("lr=0.1,0.05", ("optim.lr", [0.1, 0.05])),
        ("stages=[1],[2, 3],null", ("model.stages", [[1], [2, 3], None])),
        ("block=se,{kind: se, squeeze: max}", ("model.block", ["se", {"kind": "se", "squeeze": "max"}])),
    ],
)
def test_vary_is_read(text: str, want: tuple[str, list]) -> None:
    assert parse_vary(text) == want


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("block", "FIELD=VALUE,VALUE"),
        ("block=", "FIELD=VALUE,VALUE"),
        ("redction=2,4", "did you mean 'model.reduction'"),
        ("block={se", "not valid YAML"),
    ],
)
def test_wrong_vary_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_vary(text)


def test_default_is_plain_against_se(digits: Recipe) -> None:
    plain, se = expand(digits)
    assert (plain.label, plain.recipe.model.block) == ("plain", None)
    assert (se.label, se.recipe.model.block, se.slug) == ("SE", "se", "se")


def test_fields_are_crossed_and_the_first_variant_is_the_baseline(digits: Recipe) -> None:
    variants = expand(digits, {"lr": [0.1, 0.05], "block": ["none", "se"]})
    assert [variant.label for variant in variants] == ["plain, lr 0.1", "plain, lr 0.05", "SE, lr 0.1", "SE, lr 0.05"]
    assert variants[3].recipe == override(digits, {"model.block": "se", "optim.lr": 0.05})


def test_a_plain_network_appears_once_however_the_block_is_varied(digits: Recipe) -> None:
    variants = expand(digits, {"block": [None, "se"], "reduction": [2, 4], "placement": ["standard", "pre"]})
    assert [variant.label for variant in variants] == [
        "plain",
        *(f"SE, reduction {r}, placement {p}" for r in (2, 4) for p in ("standard", "pre")),
    ]


def test_varying_the_block_of_a_plain_recipe_keeps_plain_as_the_baseline(digits: Recipe) -> None:
    variants = expand(digits, {"model.reduction": [2, 4, 8]})
    assert [variant.label for variant in variants] == ["plain", "SE, reduction 2", "SE, reduction 4", "SE, reduction 8"]


def test_varying_the_block_of_a_recalibrated_recipe_needs_no_plain_one() -> None:
    recipe = build_recipe({"model": {"name": "se_preresnet20"}})
    assert [variant.label for variant in expand(recipe, {"placement": ["standard", "pre"]})] == ["placement standard", "placement pre"]


def test_options_of_the_block_can_be_varied(digits: Recipe) -> None:
    variants = expand(digits, {"model.block.squeeze": ["avg", "max"]})
    assert [variant.label for variant in variants] == ["plain", "SE, squeeze avg", "SE, squeeze max"]
    assert variants[2].recipe.model.block == BlockSpec("se", squeeze="max")


def test_a_single_value_is_the_same_for_all_and_in_no_label(digits: Recipe) -> None:
    variants = expand(digits, {"block": ["se"], "reduction": [2, 4], "lr": [0.05]})
    assert [variant.label for variant in variants] == ["reduction 2", "reduction 4"]
    assert {(variant.recipe.optim.lr, variant.recipe.model.block) for variant in variants} == {(0.05, "se")}


def test_other_fields_leave_the_network_alone(digits: Recipe) -> None:
    variants = expand(digits, {"optim.lr": [0.1, 0.2]})
    assert [variant.recipe.model.block for variant in variants] == ["auto", "auto"]


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        ({"block": ["se"]}, "one variant only"),
        ({"block": ["se", "se"]}, "one variant only"),
        ({"block": [None], "reduction": [2, 4]}, "one variant only"),
        ({"seed": [1, 2]}, "--seeds"),
        ({"task": ["classification", "mine.py:create"]}, "task is not a field to vary"),
        ({"lr": [0.1], "optim.lr": [0.2]}, "varied twice"),
        ({"reduction": [2, "four"]}, "model.reduction"),
    ],
)
def test_what_cannot_be_compared_is_refused(digits: Recipe, vary: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        expand(digits, vary)


@pytest.mark.parametrize("vary", [None, {"model.block": [None, "se"], "model.stages": [[1, 2], None], "optim.nesterov": [True, False]}])
def test_command_line_gives_the_same_variants_again(digits: Recipe, vary: dict | None) -> None:
    import shlex

    recipe = override(digits, {"training.epochs": 3, "optim.lr": 0.05, "schedule.milestones": [2, 3]})
    _, command, *words = shlex.split(command_line(recipe, vary, 5))
    parser = command_parser("senet compare", command)
    add_recipe(parser)
    parser.add_argument("--vary", action="append")
    parser.add_argument("--seeds", type=int)
    args = parser.words(words)
    again = expand(recipe_of(args), dict(map(parse_vary, args.vary)) if args.vary else None)
    assert [(v.label, v.recipe) for v in again] == [(v.label, v.recipe) for v in expand(recipe, vary)]
    assert args.seeds == 5


def test_command_line_of_an_own_recipe_names_its_file() -> None:
    assert command_line(Recipe(name="mine"), None, 3) == "senet compare mine.yaml --seeds 3"


def test_variants_that_read_alike_are_told_apart() -> None:
    variants = expand(Recipe(), {"model.options.title": ["\n", "\\n", "x"]})
    assert [variant.label for variant in variants] == ["title \\n", "title \\n (2)", "title x"]


def test_a_label_is_one_printable_line_and_a_folder_has_a_name_of_bounded_length() -> None:
    first, second = expand(Recipe(), {"model.options.title": ["../\x1b[31m\n", "a" * 300]})
    assert first.label == "title ../\\x1b[31m\\n"
    assert first.slug == "title-..-x1b-31m-n"
    assert len(second.slug) <= 100


ARMS = "block+groups.host=[none,1],[se,1],[se,0]"


def test_fields_that_change_together_are_not_crossed(digits: Recipe) -> None:
    name, values = parse_vary(ARMS)
    assert name == "model.block+optim.groups.host"
    variants = expand(digits, {name: values})
    assert [variant.label for variant in variants] == ["plain, host rate x 1", "SE, host rate x 1", "SE, host frozen"]
    assert [(variant.recipe.model.block, variant.recipe.optim.groups.host) for variant in variants] == [(None, 1), ("se", 1), ("se", 0)]
    again = dict([parse_vary(shlex.split(command_line(digits, {name: values}, 3))[-3])])
    assert [variant.recipe for variant in expand(digits, again)] == [variant.recipe for variant in variants]


def test_fields_that_change_together_are_crossed_with_others(digits: Recipe) -> None:
    labels = [variant.label for variant in expand(digits, dict([parse_vary(ARMS), parse_vary("lr=0.1,0.01")]))]
    assert len(labels) == 6
    assert labels[:2] == ["plain, host rate x 1, lr 0.1", "plain, host rate x 1, lr 0.01"]


def test_how_blocks_begin_is_nothing_to_the_plain_network(digits: Recipe) -> None:
    variants = expand(digits, {"model.block": [None, "se"], "model.init": ["paper", "identity"]})
    assert [variant.label for variant in variants] == ["plain", "SE, init paper", "SE, init identity"]


@pytest.mark.parametrize("values", [[["none"], ["se", 1]], ["none", "se"]])
def test_values_of_joined_fields_that_do_not_fit_are_refused(digits: Recipe, values: list) -> None:
    with pytest.raises(UsageError, match="is a list of 2 values"):
        expand(digits, {"block+groups.host": values})


def test_a_label_shows_the_range_of_many_values(digits: Recipe) -> None:
    widths = {f"{stage}_{index}": 2 * stage + index for stage in (1, 2, 3) for index in (1, 2, 3)}
    variants = expand(digits, {"model.block": [{"kind": "se"}, {"kind": "se", "hidden": widths}]})
    assert [variant.label for variant in variants] == ["SE", "SE hidden=3..9 by unit"]
