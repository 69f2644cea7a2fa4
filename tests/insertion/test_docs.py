"""The counts on the page on insertion are those of the contract."""

import pytest

from foreign.hosts import HOSTS
from pages import DOCS

PAGE = DOCS / "insertion.md"


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("densenet121 | {}", "torchvision/densenet121"),
        ("vgg16_bn | {}", "torchvision/vgg16_bn"),
        ("mobilenet_v2 | {}", "torchvision/mobilenet_v2"),
        ("mobilenet_v3_large | {}", "torchvision/mobilenet_v3_large"),
        ("shufflenet_v2 | {}", "torchvision/shufflenet_v2_x0_5"),
        ("convnext_tiny | {}", "torchvision/convnext_tiny"),
        ("deeplabv3_resnet50 | {}", "torchvision/deeplabv3_resnet50"),
        ("fasterrcnn_resnet50_fpn | {}", "torchvision/fasterrcnn_resnet50_fpn"),
        ("timm resnet50d, resnetv2_50 | {}", "timm/resnetv2_50"),
    ],
)
def test_counts_are_those_of_the_contract(words: str, name: str) -> None:
    assert words.format(len(HOSTS[name].paths)) in PAGE.read_text(encoding="utf-8")
