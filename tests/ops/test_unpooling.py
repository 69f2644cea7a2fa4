"""Max-pooling and unpooling against slow forms in NumPy and torch's own, values and gradients, for any sides."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from senet.ops.unpooling import gathered_max_pool, max_pool, max_unpool

SIDES = ((8, 6), (7, 9), (1, 5), (2, 1), (5, 4, 3), (1, 1, 1))


def windows(size: tuple[int, ...]) -> dict[tuple[int, ...], tuple[slice, ...]]:
    """Return every window of a map, by its place in the pooled one."""
    places = itertools.product(*(range(-(-side // 2)) for side in size))
    return {place: tuple(slice(2 * at, 2 * at + 2) for at in place) for place in places}


def pool_and_back(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the maxima, their positions in the plane, and the map that has them there and 0 elsewhere."""
    size = x.shape[2:]
    pooled = np.zeros((*x.shape[:2], *(-(-side // 2) for side in size)))
    positions, back = np.zeros(pooled.shape, np.int64), np.zeros(x.shape)
    for n, c in np.ndindex(*x.shape[:2]):
        for place, window in windows(size).items():
            part = x[n, c][window]
            at = tuple(s.start + i for s, i in zip(window, np.unravel_index(part.argmax(), part.shape), strict=True))
            pooled[n, c][place] = back[n, c][at] = part.max()
            positions[n, c][place] = np.ravel_multi_index(at, size)
    return pooled, positions, back


def there_and_back(x: Tensor) -> Tensor:
    y, indices = max_pool(x)
    return max_unpool(y, indices, x.shape[2:])


@pytest.mark.parametrize("size", SIDES)
def test_numpy_agrees(size: tuple[int, ...]) -> None:
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    pooled, positions, back = pool_and_back(x.numpy())
    y, indices = max_pool(x)
    assert np.array_equal(y.numpy(), pooled)
    assert np.array_equal(indices.numpy(), positions)
    assert np.array_equal(there_and_back(x).numpy(), back)


@pytest.mark.parametrize("size", SIDES)
def test_gradients_go_where_the_maxima_stood(size: tuple[int, ...]) -> None:
    x = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    y, indices = max_pool(x)
    small = torch.randn_like(y).requires_grad_()
    weight = torch.randn_like(x)
    got_small, got_x = torch.autograd.grad((max_unpool(small * y, indices, size) * weight).sum(), (small, x))
    pooled, positions, back = pool_and_back(x.detach().numpy())
    there = np.take_along_axis(weight.flatten(2).numpy(), positions.reshape(*positions.shape[:2], -1), 2).reshape(pooled.shape)
    assert np.allclose(got_small.numpy(), there * pooled, rtol=0, atol=1e-12)
    want = np.zeros(back.shape).reshape(*back.shape[:2], -1)
    values = (there * small.detach().numpy()).reshape(*there.shape[:2], -1)
    np.put_along_axis(want, positions.reshape(*positions.shape[:2], -1), values, 2)
    assert np.allclose(got_x.numpy(), want.reshape(back.shape), rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", SIDES)
def test_it_is_the_operator_of_torch(size: tuple[int, ...]) -> None:
    y, indices = max_pool(torch.randn(2, 3, *size))
    unpool = F.max_unpool2d if len(size) == 2 else F.max_unpool3d
    assert torch.equal(max_unpool(y, indices, size), unpool(y, indices, 2, output_size=list(size)))


def test_first_and_second_derivatives() -> None:
    x = torch.randn(1, 2, 5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: there_and_back(x).square(), x)
    assert torch.autograd.gradgradcheck(lambda x: there_and_back(x).square(), x)


def test_it_runs_where_algorithms_have_to_be_deterministic() -> None:
    x = torch.randn(2, 3, 9, 7, requires_grad=True)
    (free,) = torch.autograd.grad(there_and_back(x).square().sum(), x)
    torch.use_deterministic_algorithms(True)
    try:
        y, indices = max_pool(x)
        with pytest.raises(RuntimeError, match="deterministic"):
            F.max_unpool2d(y, indices, 2)
        (bound,) = torch.autograd.grad(there_and_back(x).square().sum(), x)
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(free, bound)


@pytest.mark.parametrize("size", SIDES)
def test_gathering_gives_the_same_values_and_gradients(size: tuple[int, ...]) -> None:
    x = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    dy = torch.randn_like(max_pool(x)[0])
    (values, places), (gathered, same) = max_pool(x), gathered_max_pool(x)
    assert torch.equal(values, gathered)
    assert torch.equal(places, same)
    assert torch.equal(*(torch.autograd.grad(found, x, dy)[0] for found in (values, gathered)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_loses_nothing(dtype: torch.dtype) -> None:
    x = torch.randn(2, 3, 7, 8).to(dtype)
    assert torch.equal(there_and_back(x).double(), there_and_back(x.double()))


def test_the_memory_format_stays() -> None:
    x = torch.randn(2, 3, 7, 8).contiguous(memory_format=torch.channels_last)
    got = there_and_back(x)
    assert got.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(got, there_and_back(x.contiguous()))
