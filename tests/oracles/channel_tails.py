"""Channel tails whose every step is a Triton kernel: how often they launch, and what they do to running averages."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from oracles.tail_passes import Case, kernels, lively
from senet import ChannelSE, backend
from senet.ops.tail.call import residual_tail
from senet.ops.tail.rows import Saved


def counted(call: Callable[[], Any]) -> tuple[Any, list[str]]:
    """Return what a call returns, and the names of the kernels that it launched."""
    from senet.ops.passes.triton import launch

    names: list[str] = []
    start = launch.start

    def noted(kernel: Any, *arguments: Any) -> None:
        names.append(kernel.__name__)
        start(kernel, *arguments)

    launch.start = noted  # pyright: ignore[reportAttributeAccessIssue]
    try:
        return call(), names
    finally:
        launch.start = start


def launches(case: Case) -> tuple[list[str], list[str]]:
    """Return the kernels of the forward and of the backward pass of a tail."""
    torch.manual_seed(0)
    tail, passes = lively(case), kernels(case.tiling)
    x, r, dy = case.maps(3)
    output, forward = counted(lambda: tail.forward(passes, x, r))
    saved = Saved.of(output.saved.row(), has_shortcut=True)
    return forward, counted(lambda: tail.backward(passes, dy, saved))[1]


def averages_after_two_steps(dtype: torch.dtype, momentum: float | None) -> tuple[float, bool]:
    """Return the largest error of the running averages of branch and shortcut, and whether torch was told that they changed."""
    torch.manual_seed(0)
    maps = torch.randn(4, 2, 9, 3, 5, dtype=dtype)
    found: list[list[torch.Tensor]] = []
    buffers, before = [], []
    for name in ("reference", "triton"):
        torch.manual_seed(1)
        norms = [nn.BatchNorm2d(9, momentum=momentum, dtype=dtype) for _ in range(2)]
        block = ChannelSE(9, 2).to(dtype)
        buffers = [v for norm in norms for v in norm.buffers()]
        before = [v._version for v in buffers]
        for x, r in maps.unflatten(0, (2, 2)):
            with backend(name):
                residual_tail(x, r, norm=norms[0], shortcut_norm=norms[1], recalibrate=block)
        found.append([v.double() for v in buffers])
    said = all(v._version > old for v, old in zip(buffers, before, strict=True))
    return max(float((a - b).abs().max()) for a, b in zip(*found, strict=True)), said
