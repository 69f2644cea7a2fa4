"""Two processes with a batch normalisation in common are one process with both batches."""

import socket

import pytest
import torch
import torch.multiprocessing as mp
from torch import Tensor, nn

from oracles.two_ranks import SHARES, Unit, gradients, maps, process, step
from senet import backend
from senet.ops.tail.batchnorm import merge_moments, sum_over_processes


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Tensor]]:
    """Return what each of two processes computed."""
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(process, args=(port, folder), nprocs=2)  # pyright: ignore[reportPrivateImportUsage]
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


def test_equal_one_big_batch(found: list[dict[str, Tensor]]) -> None:
    whole = Unit(nn.BatchNorm2d)
    with backend("reference"):
        want = step(whole, maps())
    for key, value in want.items():
        torch.testing.assert_close(torch.cat([one[key] for one in found]), value, rtol=1e-10, atol=1e-12, msg=key)
    for name, gradient in gradients(whole).items():
        for one in found:
            torch.testing.assert_close(one[f"joint {name}"], gradient, rtol=1e-10, atol=1e-11, msg=name)
    for name, b in whole.named_buffers():
        for one in found:
            torch.testing.assert_close(one[name], b, rtol=1e-11, atol=1e-12, msg=name)


def test_data_parallel_gradients_are_the_mean_of_both(found: list[dict[str, Tensor]]) -> None:
    units = [Unit(nn.BatchNorm2d) for _ in SHARES]
    with backend("reference"):
        for unit, *mine in zip(units, *(v.split(SHARES) for v in maps()), strict=True):
            step(unit, mine)
    first, second = (gradients(unit) for unit in units)
    assert len(first) == 8
    for name, gradient in first.items():
        for one in found:
            torch.testing.assert_close(one[f"own {name}"], (gradient + second[name]) / 2, rtol=1e-10, atol=1e-11, msg=name)


def test_one_process_keeps_its_own() -> None:
    mu, squares = torch.randn(4), torch.rand(4)
    assert merge_moments(mu, squares, 7, None) == (mu, squares, 7)
    assert sum_over_processes(mu, squares, 7, None) == (mu, squares, 7)


def test_a_lone_process_needs_no_group() -> None:
    unit, alone = Unit(nn.SyncBatchNorm), Unit(nn.BatchNorm2d)
    with backend("cpp"):
        got = step(unit, maps())
    with backend("reference"):
        want = step(alone, maps())
    for key, value in want.items():
        torch.testing.assert_close(got[key], value, rtol=1e-10, atol=1e-12, msg=key)
