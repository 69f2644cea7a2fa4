import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn

from senet import BlockSpec, create_model, find_sites, insert, record_excitations
from senet.analysis.block_places import block_places
from senet.analysis.record import gate_paths


def names(model: nn.Module, *, side: int = 32) -> list[str]:
    return [block.name for block in record_excitations(model, [(torch.randn(1, 3, side, side), torch.tensor([0]))]).blocks]


@pytest.mark.parametrize("name", ["unet", "sd_net", "fc_densenet"])
def test_an_inserted_block_is_named_as_that_of_the_zoo(name: str) -> None:
    inserted = create_model(name, width=8)
    plan = insert(inserted, BlockSpec("scse", reduction=2), example_input=torch.randn(1, 3, 32, 32))
    expected = ["SE_1_1", "SE_2_1", "SE_3_1", "SE_4_1", "SE_6_1", "SE_7_1", "SE_8_1", "SE_9_1"]
    assert names(inserted) == names(create_model(f"scse_{name}", width=8)) == expected
    assert [f"SE_{site.stage}_1" for site in plan] == expected
    assert [site.kind for site in plan] == ["encoder"] * 4 + ["decoder"] * 4


def test_blocks_of_one_unit_have_names_of_their_own() -> None:
    model = create_model("unet", width=4)
    insert(model, "se", at=r"encoder[12]\.layers\.[13]", example_input=torch.randn(1, 3, 32, 32))
    assert names(model) == ["SE_1_1", "SE_1_1_2", "SE_2_1", "SE_2_1_2"]


def test_encoder_and_decoder_are_numbered_on() -> None:
    model = create_model("unet", encoder="scse_cifar_resnet20")
    assert names(model) == [f"SE_{stage}_{unit}" for stage in (1, 2, 3) for unit in (1, 2, 3)]
    model = create_model("scse_unet", encoder="cifar_resnet20")
    assert names(model) == ["SE_4_1", "SE_5_1"]


def test_without_numbers_a_change_of_width_begins_a_stage() -> None:
    model = nn.Sequential(*[nn.Sequential(create_model("se_cifar_resnet20").layer1[0].se) for _ in range(3)])
    paths = gate_paths(model)
    found = block_places(model, paths, [4, 4, 8])
    assert [(one.name, one.path, one.stage, one.ends_stage) for one in found] == [
        ("0.0", "0.0", 1, False),
        ("1.0", "1.0", 1, True),
        ("2.0", "2.0", 2, True),
    ]


def test_encoders_that_are_networks_keep_their_numbers_and_decoders_number_on() -> None:
    """Stages of plan, names and network agree; of a network of others the plan numbers decoder blocks as ours does."""
    model = create_model("unet", encoder="resnet18")
    plan = insert(model, "se", example_input=torch.randn(1, 3, 64, 64))
    expected = [f"SE_{stage}_{unit}" for stage in (2, 3, 4, 5) for unit in (1, 2)] + [f"SE_{stage}_1" for stage in (7, 8, 9, 10, 11)]
    assert names(model, side=64) == expected
    assert sorted(site.stage for site in plan) == [2, 2, 3, 3, 4, 4, 5, 5, 7, 8, 9, 10, 11]
    foreign = find_sites(smp.Unet("resnet18", encoder_weights=None))
    assert sorted(site.stage for site in foreign) == sorted(site.stage for site in plan)
    assert [site.stage for site in foreign if site.kind == "decoder"] == [7, 8, 9, 10, 11]
