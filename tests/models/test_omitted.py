"""Networks of which some units have no block."""

from pathlib import Path
from typing import Any

import pytest
import torch

import senet
from senet.blocks.kinds import is_block
from senet.errors import UsageError
from senet.models.create import model_from_config

CASES = {
    "se_resnet18": ((2, 1), (5, 2)),
    "se_shake_shake26_2x32d": ((1, 2),),
    "se_vgg11_bn": ((3, 2),),
    "se_mobilenet": ((2, 1),),
    "se_shufflenet_g3": ((2, 3),),
    "se_bn_inception": ((4, 1), (3, 1)),
}


def small(name: str, **options: Any) -> Any:
    return senet.create_model(name, num_classes=3, **options)


def blocks(model: torch.nn.Module) -> list[str]:
    return [path for path, module in model.named_modules() if is_block(module)]


@pytest.mark.parametrize("name", CASES)
def test_omitted_units_have_no_block(name: str) -> None:
    whole, model = small(name, device="meta"), small(name, device="meta", omitted=CASES[name])
    assert model.config.omitted == CASES[name]
    without = [path for path in blocks(whole) if path not in blocks(model)]
    assert len(without) == len(CASES[name])
    for (stage, index), path in zip(sorted(CASES[name]), without, strict=True):
        unit = list(whole.stages[stage].children())[index - 1]
        assert whole.get_submodule(path) in set(unit.modules())


def test_saved_and_rebuilt(tmp_path: Path) -> None:
    model = small("se_cifar_resnet20", omitted=[[2, 1], [3, 3]]).eval()
    senet.save_weights(model, tmp_path / "model.safetensors")
    again = senet.from_pretrained(tmp_path / "model.safetensors")
    assert again.config == model.config
    assert again.config.omitted == ((2, 1), (3, 3))
    images = torch.randn(2, 3, 16, 16)
    assert torch.equal(again(images), model(images))
    plain = model_from_config(model.config.to_dict(), plain=True)
    assert (blocks(plain), plain.config.omitted) == ([], ())
    model.reset_classifier(5)
    assert model.config.omitted == ((2, 1), (3, 3))
    with pytest.raises(UsageError, match=r"omitted=\[\[2, 1\], \[3, 3\]\] \(here None\)"):
        senet.load_weights(small("se_cifar_resnet20"), tmp_path / "model.safetensors")


def test_networks_without_omitted_units_are_described_as_ever() -> None:
    config = small("se_cifar_resnet20", device="meta").config
    assert "omitted" not in config.options
    assert config.omitted == ()


@pytest.mark.parametrize(
    ("omitted", "words"),
    [
        ([(3, 4)], "omitted names unit 4 of stage 3, which this network does not have; it has 3 in stage 1, 3 in stage 2, 3 in stage 3$"),
        ([(4, 1)], "omitted names unit 1 of stage 4"),
        ([(1, 0)], "omitted names unit 0 of stage 1"),
        ([3], r"omitted holds units as \(stage, index in it from 1\), such as \(\(4, 3\),\); got 3"),
        (["ab"], "omitted holds units"),
        ([(1, 2, 3)], "omitted holds units"),
    ],
)
def test_units_that_are_not_there_are_refused(omitted: list[Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        small("se_cifar_resnet20", omitted=omitted)


@pytest.mark.parametrize("name", ["cifar_resnet20", "torchvision/resnet18"])
def test_networks_without_blocks_have_none_to_omit(name: str) -> None:
    with pytest.raises(UsageError, match="omitted"):
        small(name, omitted=[(1, 1)])
