"""Every parameter belongs to the head, the blocks or the host, in networks of this package and of others."""

import pytest
import torchvision
from torch import nn

from senet.insertion.insert import insert
from senet.models.create import create_model
from senet.training.parts import head_paths, module_parts, parameter_parts


def names(model: nn.Module, part: str) -> set[str]:
    return {name for name, found in parameter_parts(model).items() if found == part}


def test_the_parts_of_a_network_of_the_zoo() -> None:
    model = create_model("se_preresnet20")
    assert names(model, "head") == {"fc.weight", "fc.bias"}
    assert names(model, "blocks") == {name for name, _ in model.named_parameters() if ".se." in name}
    assert names(model, "host") == {name for name, _ in model.named_parameters() if ".se." not in name and not name.startswith("fc.")}


def test_a_library_s_network_with_inserted_blocks_has_the_same_parts() -> None:
    model = torchvision.models.resnet18(num_classes=4)
    host = {name for name, _ in model.named_parameters()} - {"fc.weight", "fc.bias"}
    insert(model, "se", init="identity")
    assert names(model, "head") == {"fc.weight", "fc.bias"}
    assert len(names(model, "host")) == len(host)
    assert len(names(model, "blocks")) == 8 * 4


def test_a_path_or_a_list_of_paths_says_what_the_head_is() -> None:
    model = nn.ModuleDict({name: nn.Linear(2, 2) for name in ("fc", "body", "rpn", "roi")})
    assert head_paths(model) == ["fc"]
    model.head = ["rpn", "roi"]  # pyright: ignore[reportArgumentType] - modules take any attribute
    assert head_paths(model) == ["rpn", "roi"]
    assert names(model, "host") == {"fc.weight", "fc.bias", "body.weight", "body.bias"}


@pytest.mark.parametrize(
    ("build", "head"),
    [
        (lambda: torchvision.models.vgg11(), ["classifier"]),
        (lambda: torchvision.models.vit_b_16(image_size=32), ["heads"]),
        (lambda: torchvision.models.detection.fasterrcnn_mobilenet_v3_large_fpn(weights_backbone=None), ["roi_heads.box_predictor"]),
        (lambda: create_model("scse_unet"), ["classifier"]),
        (lambda: create_model("faster_rcnn", backbone="se_resnet18"), ["roi_heads.box_predictor"]),
        (lambda: nn.Sequential(nn.Linear(2, 2)), []),
    ],
)
def test_heads_have_usual_names(build, head) -> None:
    assert head_paths(build()) == head


def test_a_parameter_that_two_parts_share_is_of_the_head() -> None:
    model = nn.ModuleDict({"body": nn.Linear(2, 2), "fc": nn.Linear(2, 2)})
    model["fc"].weight = model["body"].weight  # pyright: ignore[reportArgumentType]
    assert parameter_parts(model) == {"body.weight": "head", "body.bias": "host", "fc.bias": "head"}


def test_a_block_in_the_head_is_a_block() -> None:
    model = nn.ModuleDict({"body": nn.Conv2d(3, 8, 1), "head": nn.Sequential(create_model("se_preresnet20").layer1[0].se)})
    parts = module_parts(model)
    assert (parts[model["head"]], parts[model["head"][0]], parts[model["body"]]) == ("head", "blocks", "host")  # pyright: ignore
