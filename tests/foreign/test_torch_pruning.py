"""Channel surgery by Torch-Pruning: its graph of dependent layers is found, channels are halved, and the network runs on."""

import copy
import io
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import senet
from senet.blocks.kinds import is_block

pruning: Any = pytest.importorskip("torch_pruning", reason="Torch-Pruning is not installed: pip install torch-pruning")

PAGES = Path(__file__).parents[2] / "docs" / "blocks"

PLAIN = [
    *("resnet18", "resnet50", "resnext50_32x4d", "vgg11_bn", "mobilenet", "shufflenet_g1", "bn_inception", "inception_resnet_v2"),
    *("cifar_resnet20", "preresnet20", "wrn16_8", "shake_shake26_2x32d", "shake_even29_2x4x64d"),
]
RECALIBRATED = [
    *("se_resnet18", "se_resnext50_32x4d", "se_vgg11_bn", "se_mobilenet", "se_shufflenet_g1", "se_shake_shake26_2x32d"),
    *("se_preresnet20", "se_wrn16_8", "cmpe_se_cifar_resnet20", "cmpe_se_preresnet20", "cmpe_se_shake_shake26_2x32d"),
    *("sse_cifar_resnet20", "sse_shufflenet_g1", "sse_bn_inception", "scse_preresnet20", "scse_resnet18", "scse_mobilenet"),
]
OPTIONS: dict[str, dict[str, Any]] = {
    "inception_resnet_v2": {"counts": (1, 1, 1)},
    "se_inception_resnet_v2": {"counts": (1, 1, 1)},
}
SPECS = [
    *(senet.BlockSpec("se", squeeze=squeeze) for squeeze in ("max", "none")),
    *(senet.BlockSpec("scse", combine=combine) for combine in ("max", "multiply", "concat")),
    *(senet.BlockSpec("cmpe_se", variant=variant) for variant in ("pair_2x1", "pair_1x1")),
]


def pruner_of(page: str, name: str) -> Any:
    """Return the class that a page of the docs tells Torch-Pruning of."""
    text = (PAGES / page).read_text(encoding="utf-8")
    example = re.search(r"^```python no-run: [^\n]*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert example is not None
    names: dict[str, Any] = {"SpatialSE": senet.SpatialSE, "CompetitiveSE": senet.CompetitiveSE}
    exec(compile(example[1], page, "exec"), names)
    return names[name]


def own_pruners(model: nn.Module) -> dict[Any, Any]:
    """Return what Torch-Pruning has to be told of the blocks of a network."""
    own = {senet.SpatialSE: pruner_of("sse.md", "SpatialPruner")()}
    paired = any(isinstance(module, senet.CompetitiveSE) and module.variant != "double_fc" for module in model.modules())
    return own | ({senet.CompetitiveSE: pruner_of("cmpe_se.md", "PairPruner")()} if paired else {})


def halve(model: nn.Module, images: Tensor, head: nn.Module) -> None:
    """Halve every width but that of the head."""
    with warnings.catch_warnings(), senet.backend("reference"):
        warnings.simplefilter("ignore")
        importance = pruning.importance.MagnitudeImportance(p=1)
        pruner = pruning.pruner.BasePruner(
            model.eval(), images, importance, pruning_ratio=0.5, ignored_layers=[head], customized_pruners=own_pruners(model)
        )
        pruner.step()


def layers(model: nn.Module) -> dict[str, nn.Conv2d]:
    return {path: conv for path, conv in model.named_modules() if isinstance(conv, nn.Conv2d) and conv.in_channels > 1 < conv.out_channels}


def check(model: Any, images: Tensor, head: nn.Linear, *, blocks: bool = True) -> None:
    """Halve the channels of a network, and hold what must be so of it then: widths, outputs, gradients, copies, the inference form."""
    before = copy.deepcopy(model)
    halve(model, images, head)
    assert blocks == any(map(is_block, model.modules()))
    for path, block in model.named_modules():
        if not is_block(block):
            continue
        old = before.get_submodule(path)
        assert block.channels == old.channels // 2, path
        if getattr(block, "variant", "double_fc") == "double_fc" and hasattr(block, "hidden"):  # what is told of a block is cut as told
            assert block.hidden == max(1, old.hidden // 2), path
        assert f"{block.channels}" in repr(block)
    for path, conv in layers(model).items():
        assert 2 * len(conv.weight) == len(before.get_submodule(path).weight), path
    check_use(model, images, head)


def check_use(model: Any, images: Tensor, head: nn.Linear) -> None:
    """Hold that a network whose widths were changed is trained, copied, saved whole and brought to its inference form."""
    out = model.train()(images)
    assert out.shape == (len(images), head.out_features)
    out.square().mean().backward()
    assert all(p.grad is not None and p.grad.shape == p.shape for p in model.parameters())
    file = io.BytesIO()
    torch.save(model.eval(), file)
    file.seek(0)
    with torch.no_grad():
        want = model(images)
        assert torch.equal(torch.load(file, weights_only=False)(images), want)
        assert torch.equal(copy.deepcopy(model)(images), want)
        torch.testing.assert_close(senet.optimize(model)(images), want, rtol=1e-3, atol=1e-3)


def network(name: str, **options: Any) -> tuple[Any, Tensor]:
    """Return a network for ten classes, and two images for it."""
    torch.manual_seed(0)
    model = senet.create_model(name, num_classes=10, **OPTIONS.get(name, {}), **options)
    side = {32: 32, 224: 64, 299: 96}[model.input_size[1]]  # pyright: ignore[reportAttributeAccessIssue, reportIndexIssue, reportArgumentType]
    return model, torch.randn(2, 3, side, side)


@pytest.mark.parametrize("name", [*PLAIN, *RECALIBRATED])
def test_channels_of_the_zoo_are_halved(name: str) -> None:
    model, images = network(name)
    check(model, images, model.get_submodule(model.head), blocks=name in RECALIBRATED)


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_channels_of_every_form_of_a_block_are_halved(spec: senet.BlockSpec) -> None:
    model, images = network("cifar_resnet20", block=spec)
    check(model, images, model.fc)


@pytest.mark.parametrize("placement", ["pre", "post", "identity", "inner"])
@pytest.mark.parametrize("name", ["se_cifar_resnet20", "se_preresnet20"])
def test_channels_are_halved_wherever_the_block_sits(name: str, placement: str) -> None:
    model, images = network(name, placement=placement)
    check(model, images, model.fc)


@pytest.mark.parametrize("name", ["se_bn_inception", "se_inception_resnet_v2"])
def test_channels_that_are_concatenated_before_a_block_are_cut_together(name: str) -> None:
    """Torch-Pruning ranks them together, whichever branch they come from, and leaves whole what would lose a branch."""
    model, images = network(name)
    head = model.get_submodule(model.head)
    before = copy.deepcopy(model)
    halve(model, images, head)
    kept = [block.channels / before.get_submodule(path).channels for path, block in model.named_modules() if is_block(block)]
    assert set(kept) <= {0.5, 1.0}
    assert any(len(conv.weight) < len(before.get_submodule(path).weight) for path, conv in layers(model).items())
    check_use(model, images, head)


@pytest.mark.parametrize("block", ["se", "sse", "scse"])
def test_channels_of_another_librarys_network_are_halved(block: str) -> None:
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    model = torchvision.models.resnet18(num_classes=10)
    senet.insert(model, block)
    check(model, torch.randn(2, 3, 64, 64), model.fc)
