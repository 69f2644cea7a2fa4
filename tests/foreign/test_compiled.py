"""Compiled, exported, fused and distributed: what becomes of the blocks."""

import os
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.fx.experimental.optimization import fuse
from torch.fx.proxy import TraceError
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models.resnet import BasicBlock, ResNet

import senet
from foreign.hosts import HOSTS, Host, stages
from foreign.test_contract import ROUNDING, assert_close, blocks_of, put, run
from senet.errors import UsageError

SHORT = Host(lambda: ResNet(BasicBlock, [2, 1, 1, 1]), stages("layer{s}.{i}.bn2", 2, 1, 1, 1))
"""A ResNet with one unit of each form: what compiles or exports it sees no more in a longer one."""

NETWORKS = {"short": SHORT} | HOSTS
QUICK = ("short", "own/functional", "own/unet")
DISTRIBUTED = ("short", "torchvision/mobilenet_v2", "own/unet")
SLOW = ("torchvision/resnet18", "torchvision/mobilenet_v2", "timm/convnext_atto", "smp/Unet")
EXPORTED = (*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW))
COMPILED = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name, host in NETWORKS.items() if host.compiles]


def inserted(name: str, **options: object) -> nn.Module:
    """Return a host with blocks whose gates differ from image to image."""
    model = NETWORKS[name].make()
    put(NETWORKS[name], model, **options)
    for block in blocks_of(model):
        nn.init.normal_(block.fc2.weight)
    return model


@pytest.mark.parametrize("name", COMPILED)
def test_whole_network_compiles_with_its_blocks(name: str) -> None:
    model, images = inserted(name), NETWORKS[name].images()
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    assert_close(run(compiled, images), run(model, images), ROUNDING)  # pyright: ignore[reportArgumentType]


def test_rewritten_forward_compiles() -> None:
    model, images = inserted("short", placement="identity"), SHORT.images()
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    assert_close(run(compiled, images), run(model, images), ROUNDING)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("name", EXPORTED)
def test_onnx_runtime_computes_the_blocks(name: str, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    model, images = inserted(name), NETWORKS[name].images()
    program = torch.export.export(model, (images,))
    assert_close(run(program.module(), images), run(model, images), ROUNDING)
    path = tmp_path / "model.onnx"
    torch.onnx.export(program, dynamo=True, verbose=False).save(path)  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    outputs = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    assert_close([torch.from_numpy(np.asarray(output)) for output in outputs], run(model, images), 1e-3)


@pytest.mark.parametrize("name", ["short", "torchvision/mobilenet_v2"])
def test_fusing_a_wrapped_norm_fails_aloud(name: str) -> None:
    model = inserted(name)
    for gated in (module for module in model.modules() if isinstance(module, senet.Gated)):
        with pytest.raises(AttributeError):
            fuse_conv_bn_eval(nn.Conv2d(3, gated.host.num_features, 1).eval(), gated)  # pyright: ignore[reportArgumentType]


def test_fusing_the_whole_network_fails_aloud() -> None:
    with pytest.raises(TraceError, match="cannot be used as inputs to control flow"):
        fuse(inserted("short"))


def test_insertion_into_a_wrapped_network_is_refused() -> None:
    with pytest.raises(UsageError, match=r"insert into model\._orig_mod first"):
        senet.insert(torch.compile(HOSTS["own/functional"].make()))  # pyright: ignore[reportArgumentType]


def test_two_processes_train_the_same_blocks(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(_train, args=(port, tmp_path), nprocs=2)  # pyright: ignore[reportPrivateImportUsage]
    for index, name in enumerate(DISTRIBUTED):
        first, second = (torch.load(tmp_path / f"{index}-{rank}.pt", weights_only=True) for rank in (0, 1))
        start = inserted(name).state_dict()
        assert first
        assert all(torch.equal(first[key], second[key]) for key in first)
        assert any(not torch.equal(first[key], start[key]) for key in first)


def _train(rank: int, port: int, folder: Path) -> None:
    """Take one step on this process's image, for each network, and save the blocks' weights."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    dist.init_process_group("gloo", rank=rank, world_size=2)
    try:
        for index, name in enumerate(DISTRIBUTED):
            model = DistributedDataParallel(inserted(name))
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            model(NETWORKS[name].images()[rank : rank + 1]).square().mean().backward()
            optimizer.step()
            state = model.module.state_dict()
            torch.save({key: value for key, value in state.items() if ".se." in key}, folder / f"{index}-{rank}.pt")
    finally:
        dist.destroy_process_group()
