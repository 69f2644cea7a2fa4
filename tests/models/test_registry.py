"""Names, options and the errors of the registry."""

import pytest
import torch

from senet import BlockSpec, create_model, from_pretrained, list_models, save_weights
from senet.errors import UsageError
from senet.models.create import model_from_config, model_from_recipe
from senet.models.residual import ResidualUnit
from senet.recipe import ModelRecipe


def blocks(model: torch.nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if name.endswith(".se")]


def test_every_plain_name_has_a_recalibrated_twin() -> None:
    plain = [name for name in list_models() if not name.startswith(("se_", "sse_", "scse_", "cmpe_se_"))]
    assert len(plain) >= 19
    assert {f"se_{name}" for name in plain if name != "senet154"} <= set(list_models())


def test_senet154_is_recalibrated_by_itself() -> None:
    assert [name for name in list_models() if "senet154" in name] == ["senet154"]
    recalibrated, plain = create_model("senet154", device="meta"), create_model("senet154", block=None, device="meta")
    assert len(blocks(recalibrated)) == 50
    assert blocks(plain) == []
    for model in (recalibrated, plain):
        again = model_from_config(model.config.to_dict(), device="meta")
        assert again.state_dict().keys() == model.state_dict().keys()


def test_a_family_has_defaults_of_its_own() -> None:
    assert create_model("senet154", device="meta").config.options["dropout"] == 0.2
    assert create_model("senet154", device="meta").dropout == 0.2
    assert create_model("senet154", device="meta", dropout=0.5).dropout == 0.5


def test_wildcards() -> None:
    assert list_models("se_resnet?01") == ["se_resnet101"]
    assert list_models("nothing*") == []


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("se_resnet5", {}, "did you mean 'se_resnet50'"),
        ("se_resnet50", {"block": "se"}, "already names its block"),
        ("resnet50", {"v15": True}, "did you mean 'v1_5'"),
        ("resnet50", {"reduction": 4}, "needs a block"),
        ("se_resnet50", {"reduction": 0}, "at least 1, got 0"),
        ("se_resnet50", {"stages": (1,)}, "its stages are 2, 3, 4, 5"),
        ("se_resnet50", {"stages": ()}, "stages is empty"),
        ("se_resnet50", {"placement": "prior"}, "did you mean 'pre'"),
        ("resnet50", {"stages": (2,)}, "is plain"),
        ("resnet50", {"block": BlockSpec(reduction=4), "reduction": 2}, "given twice"),
        ("se_resnet50", {"reduction": {2: 4}}, "nothing about stage 3"),
        ("se_resnet50", {"reduction": {1: 4}}, "no stage 1"),
        ("resnet50", {"block": "cbam"}, "unknown block 'cbam'"),
        ("resnet50", {"stem_pool": "none"}, "allowed: ceil, pad"),
        ("resnet50", {"num_classes": 0}, "num_classes must be"),
        ("resnet50", {"dropout": 0.2}, "resnet50 has no option 'dropout'"),
        ("resnext50_32x4d", {"v1_5": False}, "resnext50_32x4d has no option 'v1_5'"),
        ("senet154", {"v1_5": False}, "it has: stem_pool, zero_init_residual, dropout"),
        ("preresnet20", {"first_shortcut": "x"}, "allowed: activated, raw"),
        ("resnet50", {"features_only": True, "out_indices": (4,)}, "4 maps"),
    ],
)
def test_impossible_requests_say_what_is_allowed(name: str, options: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        create_model(name, device="meta", **options)


def test_block_none_is_the_plain_twin_whatever_else_is_said() -> None:
    model = create_model("resnet50", device="meta", block=None, placement="pre", stages=(2,), reduction=4)
    assert blocks(model) == []
    assert model.config.name == "resnet50"


def test_stages_choose_where_blocks_go() -> None:
    model = create_model("se_resnet18", device="meta", stages=(3, 5))
    assert blocks(model) == ["layer2.0.se", "layer2.1.se", "layer4.0.se", "layer4.1.se"]


def test_a_rule_decides_for_each_unit() -> None:
    seen = []

    def last_of_stage(stage: int, index: int, channels: int) -> BlockSpec | None:
        seen.append((stage, index, channels))
        return BlockSpec("se", hidden=7) if index == 2 else None

    model = create_model("resnet18", device="meta", block=last_of_stage)
    assert blocks(model) == [f"layer{i}.1.se" for i in (1, 2, 3, 4)]
    assert model.layer1[1].se.hidden == 7
    assert seen[:3] == [(2, 1, 64), (2, 2, 64), (3, 1, 128)]


def test_config_names_the_block_however_it_was_asked_for() -> None:
    by_name, by_option = create_model("se_resnet18", device="meta"), create_model("resnet18", device="meta", block="se")
    assert by_name.config == by_option.config
    assert by_name.config.name == "se_resnet18"


def test_config_builds_the_same_network_again() -> None:
    model = create_model(
        "resnet18", block=BlockSpec("se", gate="tanh", hidden={2: 3, 4: 5}), stages=(2, 4), placement="post", num_classes=7
    )
    again = model_from_config(model.config.to_dict())
    again.load_state_dict(model.state_dict())
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(again.eval()(x), model.eval()(x))


def test_a_rule_cannot_be_saved() -> None:
    with pytest.raises(UsageError, match="cannot be saved"):
        create_model("resnet18", device="meta", block=lambda stage, index, channels: BlockSpec()).config.to_dict()


def test_from_pretrained_builds_what_was_saved(tmp_path: object) -> None:
    torch.manual_seed(0)
    model = create_model("preresnet20", block=BlockSpec("se", bias=False), reduction={1: 2, 2: 4, 3: 8}, num_classes=3).eval()
    save_weights(model, tmp_path / "model.safetensors")
    again = from_pretrained(tmp_path / "model.safetensors")
    x = torch.randn(2, 3, 32, 32)
    assert not again.training
    assert torch.equal(again(x), model(x))


def test_weights_of_another_network_are_refused(tmp_path: object) -> None:
    save_weights(create_model("preresnet20"), tmp_path / "plain.safetensors")
    with pytest.raises(UsageError, match="preresnet20"):
        create_model("se_preresnet20", weights=tmp_path / "plain.safetensors")


def test_stages_and_units_are_numbered_as_in_the_papers() -> None:
    model = create_model("se_resnet50", device="meta")
    assert list(model.stages) == [2, 3, 4, 5]
    assert [len(stage) for stage in model.stages.values()] == [3, 4, 6, 3]
    assert all(isinstance(unit, ResidualUnit) for stage in model.stages.values() for unit in stage)


def test_convolutions_are_drawn_as_he_et_al() -> None:
    torch.manual_seed(0)
    weight = create_model("resnet50").layer3[0].conv2.weight
    assert weight.std().item() == pytest.approx((2 / (9 * 256)) ** 0.5, rel=0.01)
    wide = create_model("wrn16_8").layer2[0].conv1.weight  # 128 -> 256: fan-in
    assert wide.std().item() == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.01)


@pytest.mark.parametrize("option", ["name", "recalibration", "num_classes", "in_channels", "device", "finish"])
def test_options_of_a_recipe_do_not_decide_what_its_other_fields_and_its_images_do(option: str) -> None:
    with pytest.raises(UsageError, match=f"model.options cannot hold '{option}'"):
        model_from_recipe(ModelRecipe(options={option: "x"}), num_classes=3, in_channels=1)
