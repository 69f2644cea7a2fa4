"""Pre-activation tails by the Triton kernels against the definition in float64; for a process of Triton's interpreter, and for a device."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from oracles.channel_tails import counted
from oracles.passes import LAYOUTS
from oracles.tail_passes import Case, exact, kernels, lively, replays
from senet import ChannelSE, backend, create_model
from senet.ops.passes.terms import PairGradient
from senet.ops.passes.torch import TorchKernels, TorchPairKernels
from senet.ops.tail.autograd import PreactivatedFunction
from senet.ops.tail.call import preactivated_tail
from senet.ops.tail.form import Form, tensors_of
from senet.ops.tail.preactivated import PreactivatedTail


class TorchPasses(TorchKernels, TorchPairKernels):
    """All passes in torch's operations."""


def preactivated(tail: Any) -> PreactivatedTail:
    """Return the pre-activation tail with the gate and the norm of a tail."""
    return PreactivatedTail(tail.gate, tail.norm)


def results(passes: Any, tail: Any, maps: list[Tensor], da: Tensor, dv: Tensor | None, a: Tensor | None = None) -> dict[str, Tensor]:
    """Return all that forward and backward compute; the backward pass takes the ReLU from `a` where it is given."""
    pair = preactivated(tail)
    output = pair.forward(passes, *maps)
    saved = output.saved if a is None else replace(output.saved, a=a)
    found = pair.backward(passes, dv, da, saved)
    named = dict(zip(("v", "a", "mean", "var"), output.row(), strict=True))
    named |= {"x": found.x, "r": found.shortcut} | {f"d{key}": value for key, value in vars(found.tensors).items()}
    return {key: value for key, value in named.items() if value is not None}


def errors(case: Case, with_dv: bool = True) -> dict[str, float]:
    """Return the largest error of each result, as a share of the largest value or of 1."""
    torch.manual_seed(0)
    tail = lively(case)
    u, r, da, dv = case.maps(4)
    dv = dv if with_dv else None
    got = results(kernels(case.tiling), tail, [u, r], da, dv)
    of_v = None if dv is None else dv.double()
    want = results(TorchPasses(), exact(tail), [u.double(), r.double()], da.double(), of_v, got["a"].double())
    assert got.keys() == want.keys()
    for key in ("v", "a", "x", "r"):
        assert got[key].dtype == case.dtype
        assert got[key].is_contiguous(memory_format=LAYOUTS[case.layout])
    return {key: float((got[key] - value).abs().max()) / max(1.0, float(value.abs().max())) for key, value in want.items()}


def launches(case: Case) -> tuple[list[str], list[str]]:
    """Return the kernels of the forward and of the backward pass of a tail."""
    torch.manual_seed(0)
    pair, passes = preactivated(lively(case)), kernels(case.tiling)
    u, r, da, dv = case.maps(4)
    output, forward = counted(lambda: pair.forward(passes, u, r))
    return forward, counted(lambda: pair.backward(passes, dv, da, output.saved))[1]


def launches_of_a_step(network: str) -> list[str]:
    """Return the kernels that a network launches in a forward and a backward pass, beside convolutions, the head and sums of gradients."""
    torch.manual_seed(0)
    model = create_model(network, num_classes=10).to(memory_format=torch.channels_last).train()
    x = torch.randn(2, 3, 8, 8).to(memory_format=torch.channels_last)
    with backend("triton"):
        return counted(lambda: model(x).sum().backward())[1]


def by_their_passes(case: Case) -> dict[str, float]:
    """Return `errors` of a tail that is composed of the passes, with torch's operations between them, as for several processes."""
    passes = kernels(case.tiling)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("pair_forward", "pair_backward"):
            patch.setattr(type(passes), name, lambda *given: None)
        return errors(case)


def modules_by_name(device: str = "cpu") -> float:
    """Return the largest error of `preactivated_tail` by the kernels: maps, gradients, running averages after a step."""
    torch.manual_seed(0)
    u, r, da, dv = torch.randn(4, 2, 8, 3, 3, device=device)
    found: list[list[Tensor]] = []
    for name in ("reference", "triton"):
        torch.manual_seed(1)
        norm, block = nn.BatchNorm2d(8).to(device), ChannelSE(8, 2).to(device)
        branch = u.clone().requires_grad_()
        with backend(name):
            v, a = preactivated_tail(branch, r, recalibrate=block, norm=norm)
        inputs = [branch, *norm.parameters(), *block.parameters()]
        found.append([v.detach(), a.detach(), *torch.autograd.grad((v, a), inputs, (dv, da)), *norm.buffers()])
    return max(float((a - b).abs().max()) for a, b in zip(*found, strict=True))


def repeats(case: Case) -> bool:
    """Return whether two runs agree bit by bit."""
    torch.manual_seed(0)
    tail, (u, r, da, dv) = lively(case), case.maps(4)
    first, second = (results(kernels(case.tiling), tail, [u, r], da, dv) for _ in range(2))
    return all(torch.equal(first[key], second[key]) for key in first)


def mask_is_where_the_output_is_positive(case: Case) -> bool:
    """Return whether gradients pass where `a` as it is stored is positive, which the kernels see from v alone; not where v is no number."""
    torch.manual_seed(0)
    passes, (u, r, da) = kernels(case.tiling), case.maps(3)
    u[0, 0, 0, 0] = torch.nan
    one = torch.ones(case.shape[:2], dtype=torch.promote_types(case.dtype, torch.float32), device=case.device)
    found = []
    for scale, shift in ((1.0, 0.5), (1e-9, 0.0)):
        k, t = scale * one[0], shift * one[0]
        v, a = passes.apply_pair(u, r, one, k, t)
        assert bool(v[0, 0, 0, 0].isnan())
        assert bool(a[0, 0, 0, 0].isnan())
        gradient = PairGradient(v, a, da.abs() + 1, None, k, t)
        sums = passes.reduce_pair(gradient, torch.zeros_like(k), u.nan_to_num())
        found.append(torch.equal((sums.g > 0).to(one.dtype), (a > 0).flatten(2).any(2).to(one.dtype)))
        count = torch.where(a > 0, gradient.da, 0).to(one.dtype).sum((2, 3))
        found.append(bool(((sums.g - count).abs() <= 1e-3 * count.abs().clamp_min(1)).all()))
    return all(found)


def spread_of_far_values(case: Case, ratio: float) -> float:
    """Return the largest relative error of the centred squares of maps whose mean is `ratio` standard deviations, u r by their root."""
    torch.manual_seed(0)
    u, r = (v + ratio for v in case.maps(2))
    found = vars(kernels(case.tiling).pair_moments(u, r))
    wanted = vars(TorchPairKernels().pair_moments(u.double(), r.double()))
    of = {"uu": wanted["uu"], "ur": (wanted["uu"] * wanted["rr"]).sqrt(), "rr": wanted["rr"], "u": wanted["u"], "r": wanted["r"]}
    return max(float(((found[key] - wanted[key]) / of[key]).abs().max()) for key in of)


def step_in_a_graph(case: Case) -> bool:
    """Return whether a step captured in a CUDA graph, replayed on other values, computes what it computes outside."""
    torch.manual_seed(0)
    tail, maps = lively(case), case.maps(4)
    tensors = tensors_of(tail).row()

    def step() -> list[Tensor]:
        u, r = (x.detach().requires_grad_() for x in maps[:2])
        v, a = PreactivatedFunction.apply(kernels(case.tiling), Form.of(tail), u, r, *tensors)[:2]
        return [v.detach(), a.detach(), *torch.autograd.grad((v, a), (u, r), maps[2:])]

    return replays(step, maps)
