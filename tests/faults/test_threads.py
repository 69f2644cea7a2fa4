"""Threads that compute tails, ask for backends and build operators at once do not disturb each other."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import torch

from senet import ChannelSE, backend
from senet.ops.backend import choose, requested
from senet.ops.passes.cpp import build
from senet.ops.tail.call import residual_tail

THREADS, ROUNDS = 8, 12


def together(work) -> list:
    """Return what a function of the thread's number gives, all threads having begun at once."""
    start = Barrier(THREADS)

    def begin(number: int):
        start.wait()
        return work(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(begin, range(THREADS)))


def test_a_backend_holds_for_its_own_thread() -> None:
    names = ("reference", "cpp" if build.kernels()[0] else "reference")

    def work(number: int) -> bool:
        mine, right = names[number % 2], True
        for _ in range(ROUNDS):
            with backend(mine):
                right &= requested() == mine and choose(torch.zeros(1)).name == mine
            right &= requested() is None
        return right

    assert all(together(work))


def test_threads_compute_what_one_does() -> None:
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(2, 16, 9, 7, generator=generator) for _ in range(THREADS)]
    block, norm = ChannelSE(16, 4), torch.nn.BatchNorm2d(16).eval()

    def tail(number: int) -> torch.Tensor:
        x = maps[number].clone().requires_grad_()
        y = residual_tail(x, maps[number - 1], norm=norm, recalibrate=block)
        return torch.cat([y, *torch.autograd.grad(y.square().sum(), x)]).detach()

    alone = [tail(number) for number in range(THREADS)]
    for _ in range(ROUNDS):
        assert all(map(torch.equal, together(tail), alone))


def test_threads_that_need_the_operators_at_once_load_them_once(monkeypatch) -> None:
    loads = []
    monkeypatch.setattr(build, "_loaded", build.cache(lambda: loads.append(1) or (None, "made")))
    assert together(lambda number: build.kernels.__wrapped__()) == [(None, "made")] * THREADS
    assert loads == [1]
