"""Files of the Inceptions under the names and in the shapes in which their libraries published them."""

from pathlib import Path

import pytest
import timm
import torch
from pytorchcv.model_provider import get_model
from torch import Tensor, nn

from oracles.weights import draw
from senet import create_model, load_weights
from senet.errors import UsageError
from senet.weights.releases.inception import without_background, without_biases

MIXED = ("1x1", "3x3_reduce", "3x3", "double_3x3_reduce", "double_3x3_1", "double_3x3_2", "pool_proj")
MODULES = {name: MIXED[1:-1] if name in ("3c", "4e") else MIXED for name in ("3a", "3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b")}


def as_cadene(oracle: nn.Module) -> dict[str, Tensor]:
    """Write pytorchcv's BN-Inception as Cadene does: layers by name in the order of both networks, BNs of the shape (1, C)."""
    names = [
        "conv1_7x7_s2",
        "conv2_3x3_reduce",
        "conv2_3x3",
        *(f"inception_{module}_{layer}" for module in MODULES for layer in MODULES[module]),
    ]
    units = [module for module in oracle.modules() if hasattr(module, "bn")]
    state = {f"last_linear.{key}": value for key, value in oracle.output.state_dict().items()}
    for name, unit in zip(names, units, strict=True):
        state |= {f"{name}.{key}": value for key, value in unit.conv.state_dict().items()}
        state |= {f"{name}_bn.{key}": value[None] for key, value in unit.bn.state_dict().items() if value.ndim}
    return state


def assert_equal(oracle: Tensor, ours: Tensor) -> None:
    assert (oracle - ours).abs().max() / oracle.abs().max() < 1e-12


def test_cadenes_bn_inception(tmp_path: Path) -> None:
    oracle = draw(get_model("bninception").double(), last="none", projection="none").eval()
    oracle.features.final_pool = nn.AdaptiveAvgPool2d(1)
    torch.save(as_cadene(oracle), tmp_path / "bn_inception.pth")
    ours = create_model("bn_inception").double()
    assert load_weights(ours, f"cadene:{tmp_path / 'bn_inception.pth'}").release == "cadene/bninception"
    assert ours.weights_metadata.input.order == "bgr"
    x = torch.randn(1, 3, 97, 97, dtype=torch.float64)
    with torch.no_grad():
        assert_equal(oracle(x), ours.eval()(x))


@pytest.mark.parametrize(
    ("library", "name", "head"), [("timm", "inception_resnet_v2", "classif"), ("cadene", "inceptionresnetv2", "last_linear")]
)
def test_inception_resnet_of_1001_classes_loses_the_background(library: str, name: str, head: str, tmp_path: Path) -> None:
    oracle = draw(timm.create_model("inception_resnet_v2", num_classes=1001), last="none", projection="none")
    torch.save({key.replace("classif.", f"{head}."): value for key, value in oracle.state_dict().items()}, tmp_path / "file.pth")
    ours = create_model("inception_resnet_v2")
    assert load_weights(ours, f"{library}:{tmp_path / 'file.pth'}").release == f"{library}/{name}"
    assert (ours.weights_metadata.input.size, ours.weights_metadata.input.mean) == (299, (0.5, 0.5, 0.5))
    x = torch.randn(1, 3, 91, 91, dtype=torch.float64)
    with torch.no_grad():
        assert_equal(oracle.double().eval()(x)[:, 1:], ours.double().eval()(x))


def test_only_a_head_of_1001_classes_loses_one() -> None:
    head = {"fc.weight": torch.randn(1000, 4), "fc.bias": torch.randn(1000), "conv1.weight": torch.randn(1001, 4)}
    assert all(torch.equal(without_background(head)[name], tensor) for name, tensor in head.items())


def test_biases_vanish_into_the_means() -> None:
    torch.manual_seed(0)
    conv, bn, x = nn.Conv2d(3, 4, 3).double(), nn.BatchNorm2d(4).double().eval(), torch.randn(1, 3, 8, 8, dtype=torch.float64)
    state = {f"conv.{key}": value for key, value in conv.state_dict().items()} | {
        f"bn.{key}": value for key, value in bn.state_dict().items()
    }
    folded = without_biases({f"a.{key}": value for key, value in state.items()} | {"fc.bias": torch.ones(2)})
    assert set(folded) == {f"a.{key}" for key in state if key != "conv.bias"} | {"fc.bias"}
    want = bn(conv(x))
    conv.bias.data.zero_()
    bn.running_mean = folded["a.bn.running_mean"]
    torch.testing.assert_close(bn(conv(x)), want)


def test_a_file_of_the_other_inception_is_refused(tmp_path: Path) -> None:
    torch.save(get_model("bninception").state_dict(), tmp_path / "file.pth")
    with pytest.raises(UsageError, match=r"does not fit|missing"):
        load_weights(create_model("inception_resnet_v2", counts=(1, 1, 1)), f"pytorchcv:{tmp_path / 'file.pth'}")
