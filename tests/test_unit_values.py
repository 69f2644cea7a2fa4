"""Values that differ by stage, or by unit in a stage."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import senet
from senet import BlockSpec
from senet.blocks.kinds import is_block
from senet.errors import UsageError
from senet.recipe import build_recipe, load_recipe, override
from senet.unit_values import by_place, units_named, value_at


def widths(model: Any) -> list[int]:
    return [module.hidden for module in model.modules() if is_block(module)]


def test_what_is_said_of_a_unit_wins_over_its_stage() -> None:
    value = {3: 8, "3_4": 16, "2_1": 5}
    assert [value_at("hidden", value, 3, index) for index in (1, 4, 14)] == [8, 16, 8]
    assert value_at("hidden", value, 2, 1) == 5
    assert value_at("hidden", 7, 2, 2) == 7
    with pytest.raises(UsageError, match="hidden says nothing about stage 2 or its unit 2; it names 3, 3_4, 2_1"):
        value_at("hidden", value, 2, 2)
    with pytest.raises(UsageError, match="hidden says nothing about stage 2; it names stages 3"):
        value_at("hidden", {3: 8}, 2, 2)


def test_keys_are_stages_or_units() -> None:
    assert by_place("hidden", {"3": 1, np.int64(4): 2, "03_4": 3}) == {3: 1, 4: 2, "3_4": 3}
    assert by_place("hidden", 4) == 4
    assert units_named([{3: 1, "3_4": 2, "12_10": 3}, 4]) == [(3, 4), (12, 10)]
    for key in ("a", "3_0", "3-4", "_4", "3_", "3_4_5", 1.5, None, True, (3, 4)):
        with pytest.raises(UsageError, match=r"hidden differs by stage, and .* is no number of a stage.*and no stage_unit"):
            BlockSpec("se", hidden={key: 4})


def test_specs_go_through_json_yaml_and_recipes_unchanged(tmp_path: Path) -> None:
    spec = BlockSpec("se", hidden={3: 8, "3_4": 16}, bias=False)
    assert BlockSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    recipe = override(load_recipe("digits"), {"model.block": spec})
    (tmp_path / "mine.yaml").write_text(recipe.to_yaml())
    assert load_recipe(tmp_path / "mine.yaml") == recipe
    assert load_recipe(tmp_path / "mine.yaml").model.block == spec
    (tmp_path / "bare.yaml").write_text("base: digits\nmodel:\n  block: {kind: se, hidden: {3: 8, 3_4: 16}, bias: false}\n")
    assert load_recipe(tmp_path / "bare.yaml") == recipe  # YAML 1.1 would read 3_4 as 34
    assert override(load_recipe("digits"), {"model.block": "{kind: se, hidden: {3: 8, 3_4: 16}, bias: false}"}) == recipe
    assert override(recipe, {"model.block.hidden.3_4": 5}).model.block == spec.with_options(hidden={3: 8, "3_4": 5})
    with pytest.raises(UsageError, match="at least 1, got 0"):
        BlockSpec.from_dict({"kind": "se", "hidden": {"3_4": 0}})
    with pytest.raises(UsageError, match="a stage or stage_unit"):
        BlockSpec.from_dict({"kind": "se", "hidden": {"3_x": 4}})


def test_the_ratio_of_a_recipe_differs_by_unit() -> None:
    recipe = build_recipe({"model": {"block": "se", "reduction": {"1": 4, "1_2": 2}}})
    assert recipe.model.reduction == {1: 4, "1_2": 2}
    assert override(recipe, {"reduction": "{1: 4, 1_2: 2}"}) == recipe
    assert override(recipe, {"model.reduction.1_2": 2}) == recipe
    with pytest.raises(UsageError, match=r"model.reduction differs by stage, and 'x' is no number"):
        override(recipe, {"model.reduction": {"x": 4}})
    assert override(load_recipe("digits"), {"training.epochs": "1_5"}).training.epochs == 15  # other numbers stay YAML's


def test_networks_have_blocks_of_these_widths(tmp_path: Path) -> None:
    spec = BlockSpec("se", hidden={1: 2, 2: 4, "2_3": 7, "3_1": 5, 3: 8})
    model = senet.create_model("preresnet20", block=spec, device="cpu").eval()
    assert widths(model) == [2, 2, 2, 4, 4, 7, 5, 8, 8]
    assert widths(senet.create_model("se_preresnet20", reduction={1: 4, 2: 8, 3: 8, "3_2": 2}, device="meta"))[6:] == [8, 32, 8]
    senet.save_weights(model, tmp_path / "model.safetensors")
    again = senet.from_pretrained(tmp_path / "model.safetensors")
    assert again.config == model.config
    images = torch.randn(1, 3, 8, 8)
    assert torch.equal(again(images), model(images))


@pytest.mark.parametrize("name", ["se_vgg11_bn", "se_mobilenet", "se_shufflenet_g3", "se_bn_inception", "scse_unet", "cmpe_se_resnet18"])
def test_families_count_their_units_alike(name: str) -> None:
    kind, _, plain = name.rpartition("se_")
    spec = BlockSpec(f"{kind}se", reduction={**dict.fromkeys(range(1, 10), 4), "4_1": 2})
    with pytest.raises(UsageError, match="this network has no stage"):
        senet.create_model(plain, block=spec, device="meta")
    bottleneck = {5} if plain == "unet" else set()  # which gets no block
    whole: Any = senet.create_model(name, device="meta")
    stages = whole.stages.keys() - bottleneck
    model = senet.create_model(plain, block=spec.with_options(reduction={**dict.fromkeys(stages, 4), "4_1": 2}), device="meta")
    blocks: list[Any] = [module for module in model.modules() if is_block(module) and hasattr(module, "hidden")]
    ratios = [block.channels // block.hidden for block in blocks if not hasattr(block, "cse")]
    assert sorted(set(ratios)) == [2, 4]
    assert ratios.count(2) == 1


def test_units_that_are_not_there_are_refused() -> None:
    with pytest.raises(UsageError, match="hidden names unit 4 of stage 3, which this network does not have; it has 3 in stage 1"):
        senet.create_model("preresnet20", block=BlockSpec("se", hidden={1: 2, 2: 2, 3: 2, "3_4": 4}), device="meta")
    with pytest.raises(UsageError, match="has no stage 4 for a block"):
        senet.create_model("preresnet20", block=BlockSpec("se", hidden={1: 2, 2: 2, 3: 2, "4_1": 4}), device="meta")
