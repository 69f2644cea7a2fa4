"""torch's older ONNX exporter, which traces: blocks, inserted blocks and inference forms give files that engines run."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import senet
from senet.insertion.gated import Gated

onnxruntime = pytest.importorskip("onnxruntime")
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

BLOCKS = {
    "se": {},
    "se max": {"squeeze": "max"},
    "se none": {"squeeze": "none"},
    "se hard": {"gate": "hard_sigmoid"},
    "sse": {},
    "scse": {},
    "scse concat": {"combine": "concat"},
    "cmpe_se": {},
    "cmpe_se pair": {"variant": "pair_2x1"},
    "cmpe_se folded": {"variant": "folded_3x3", "fold_size": 4},
}
SHAPES = {"vectors": (), "signals": (5,), "images": (5, 6), "volumes": (3, 4, 5)}


def assert_exported(network: nn.Module, path: Path, *shape: int, inputs: int = 1) -> None:
    network.eval()
    example = tuple(torch.randn(2, *shape) for _ in range(inputs))
    names = [f"x{index}" for index in range(inputs)]
    axes = {name: {0: "batch"} for name in names}
    torch.onnx.export(network, example, path, dynamo=False, input_names=names, dynamic_axes=axes)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    maps = [torch.randn(3, *shape) for _ in range(inputs)]
    got = session.run(None, {name: x.numpy() for name, x in zip(names, maps, strict=True)})[0]
    with torch.no_grad():
        np.testing.assert_allclose(got, network(*maps).numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", SHAPES)
@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_at_every_rank(tmp_path: Path, block: str, size: str) -> None:
    kind = block.partition(" ")[0]
    built = senet.build_block(senet.BlockSpec(kind, **BLOCKS[block]), 16)
    assert_exported(built, tmp_path / "x.onnx", 16, *SHAPES[size], inputs=2 if kind == "cmpe_se" else 1)


@pytest.mark.parametrize("optimize", [False, True], ids=["as trained", "inference form"])
@pytest.mark.parametrize("name", ["se_cifar_resnet20", "scse_cifar_resnet20", "cmpe_se_preresnet20"])
def test_whole_networks(tmp_path: Path, name: str, optimize: bool) -> None:
    network = senet.create_model(name, num_classes=4)
    assert_exported(senet.optimize(network) if optimize else network, tmp_path / "x.onnx", 3, 16, 16)


@pytest.mark.parametrize("axis", [2, 3])
def test_blocks_over_another_axis(tmp_path: Path, axis: int) -> None:
    shape = [4, 5, 6]
    shape[axis - 1] = 16
    assert_exported(Gated(nn.ReLU(), senet.ChannelSE(16), axis=axis), tmp_path / "x.onnx", *shape)
