"""Two processes with a BatchNorm in common are one with both batches, in value and gradient; what else a layer does is not lost."""

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.multiprocessing import start_processes  # pyright: ignore[reportPrivateImportUsage]
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from senet import backend, create_model
from senet.errors import UsageError
from senet.ops.tail.joint import JointBatchNorm
from senet.training.batchnorm import freeze_batchnorm
from senet.training.joint_batchnorm import join_batchnorm

CPU = torch.device("cpu")


def volumes() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(3, 4, 3), nn.BatchNorm3d(4), nn.ReLU(), nn.Flatten(), nn.BatchNorm1d(144, affine=False), nn.Linear(144, 10)
    )


NETWORKS = {
    "SE": (lambda: create_model("cifar_resnet20", block="se", num_classes=10), (6, 3, 8, 8)),
    "pre-activated": (lambda: create_model("preresnet20", block="scse", num_classes=10), (6, 3, 8, 8)),
    "3 dimensions and 1": (volumes, (6, 3, 5, 5, 6)),
}
BACKENDS = ("reference", None)
"""The definition, with layers called one by one, and whatever is taken here."""


def stepped(name: str, how: str | None, rank: int | None = None) -> dict[str, Tensor]:
    """Return gradients and buffers after a step on the whole batch, or as one of two processes with half of it each."""
    make, shape = NETWORKS[name]
    generator = torch.Generator().manual_seed(3)
    images, labels = torch.randn(shape, generator=generator, dtype=torch.float64), torch.randint(10, shape[:1], generator=generator)
    images[:3] += 5  # the halves are not alike
    torch.manual_seed(0)
    network = called = make().double().train()
    if rank is not None:
        images, labels = images.split(3)[rank], labels.split(3)[rank]
        join_batchnorm(network, CPU)
        called = DistributedDataParallel(network)
    with nullcontext() if how is None else backend(how):
        cross_entropy(called(images), labels).backward()
    gradients = {key: parameter.grad for key, parameter in network.named_parameters() if parameter.grad is not None}
    return gradients | dict(network.named_buffers())


def process(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.save({(name, how): stepped(name, how, rank) for name in NETWORKS for how in BACKENDS}, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def test_a_shared_batch_is_one_batch(tmp_path: Path) -> None:
    start_processes(process, (tmp_path,), nprocs=2, start_method="fork")
    of_each = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for name in NETWORKS:
        wanted = stepped(name, "reference")
        for how in BACKENDS:
            for found in of_each:
                assert found[name, how].keys() == wanted.keys()
                for key, tensor in wanted.items():
                    torch.testing.assert_close(found[name, how][key], tensor, rtol=1e-10, atol=1e-11, msg=f"{name}, {how}: {key}")


def test_layers_keep_their_parameters_mode_and_place() -> None:
    network = volumes()
    network[1].eval()
    shared = nn.Sequential(network[1], network)
    before = dict(shared.named_parameters())
    state = {key: value.clone() for key, value in shared.state_dict().items()}
    join_batchnorm(shared, CPU)
    assert all(parameter is before[name] for name, parameter in shared.named_parameters())
    assert shared.state_dict().keys() == state.keys()
    assert type(network[1]) is JointBatchNorm
    assert network[1] is shared[0]
    assert (network[1].training, network[4].training) == (False, True)
    freeze_batchnorm(network)
    assert not network[4].training
    wanted, alone = volumes().train(), volumes().train()
    alone.load_state_dict(wanted.state_dict())
    join_batchnorm(alone, CPU)
    images = torch.randn(6, 3, 5, 5, 6)
    assert torch.equal(alone(images), wanted(images))  # no other process


def test_a_layer_that_does_more_is_named() -> None:
    class Activated(nn.BatchNorm2d):
        pass

    with pytest.raises(UsageError, match=r"training\.sync_bn cannot join 1\.0: its class, Activated, may do more than BatchNorm"):
        join_batchnorm(nn.Sequential(nn.ReLU(), nn.Sequential(Activated(3))), CPU)
