"""The passes of a tail as Triton kernels against their definition in float64; for a process of Triton's interpreter, and for a device."""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from senet import ChannelSE, backend
from senet.ops.backend import choose
from senet.ops.fused import Excitation, Norm, Tail
from senet.ops.kernels import TorchKernels
from senet.ops.tail import residual_tail
from senet.ops.tail_function import Form, TailFunction, tensors_of

SMALL = (8, 16, 128, 128, 8)
"""A tiling with which maps of a few positions have several tiles and spans."""

LAYOUTS = {"NCHW": torch.contiguous_format, "NHWC": torch.channels_last}


@dataclass(frozen=True)
class Case:
    """Say what is computed: statistics of the norms ("batch", "running" or none), gate, ReLU; on which maps, where, by which tiling."""

    norm: str | None
    r_norm: str | None
    gate: str | None
    relu: bool
    shape: tuple[int, int, int, int] = (2, 9, 5, 7)
    layout: str = "NHWC"
    dtype: torch.dtype = torch.float64
    tiling: tuple[int, ...] | None = SMALL
    device: str = "cpu"

    def maps(self, count: int) -> list[Tensor]:
        """Return maps."""
        made = (torch.randn(self.shape, device=self.device).to(self.dtype) for _ in range(count))
        return [v.contiguous(memory_format=LAYOUTS[self.layout]) for v in made]


@cache
def kernels(tiling: tuple[int, ...] | None):
    """Return the kernels; imported late, since triton is told by the environment whether it interprets."""
    from senet.ops.triton.passes import Tiling, TritonKernels

    return TritonKernels(None if tiling is None else Tiling(*tiling))


def lively(case: Case) -> Tail:
    """Return a tail with drawn parameters, in float32 or float64."""
    n, wide = case.shape[1], torch.promote_types(case.dtype, torch.float32)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, device=case.device).to(wide)

    def norm(statistics: str | None) -> Norm | None:
        return None if statistics is None else Norm(draw(n), draw(n), draw(n), draw(n).abs() + 0.5, statistics == "batch", 1e-5)

    gate = None if case.gate is None else Excitation(draw(4, n), draw(4), draw(n, 4), draw(n), case.gate)
    return Tail(norm(case.norm), gate, norm(case.r_norm), case.relu)


def results(passes: Any, tail: Tail, x: Tensor, r: Tensor, dy: Tensor, y: Tensor | None = None) -> dict[str, Tensor]:
    """Return all that forward and backward compute; the backward pass takes the ReLU from y where it is given."""
    passed = tail.forward(passes, x, r)
    kept = y if y is not None and tail.relu else passed.kept
    found = tail.backward(passes, dy, kept, x, r if tail.r_norm else None, passed.saved, True)
    named = {"y": passed.y, **dict(zip(("mu", "var", "r_mu", "r_var"), passed.statistics, strict=True)), **vars(found)}
    return {key: value for key, value in named.items() if value is not None}


def errors(case: Case) -> dict[str, float]:
    """Return the largest error of each result, as a share of the largest value or of 1; also inf where type or format are wrong."""
    torch.manual_seed(0)
    tail, (x, r, dy) = lively(case), case.maps(3)
    got = results(kernels(case.tiling), tail, x, r, dy)
    want = results(TorchKernels(), exact(tail), x.double(), r.double(), dy.double(), got["y"])
    assert got.keys() == want.keys()
    for key in ("y", "x", "r"):
        assert got[key].dtype == case.dtype
        assert got[key].is_contiguous(memory_format=LAYOUTS[case.layout])
    return {key: float((got[key] - value).abs().max()) / max(1.0, float(value.abs().max())) for key, value in want.items()}


def exact(tail: Tail) -> Tail:
    """Return a tail in float64."""
    form = Form.of(tail)
    return form.tail(tuple(None if v is None else v.double() for v in tensors_of(tail)))


def repeats(case: Case) -> bool:
    """Return whether two runs agree bit by bit."""
    torch.manual_seed(0)
    tail, maps = lively(case), case.maps(3)
    first, second = (results(kernels(case.tiling), tail, *maps) for _ in range(2))
    return all(torch.equal(first[key], second[key]) for key in first)


def spread_of_far_values(case: Case, ratio: float) -> float:
    """Return the largest relative error of the centred squares of maps whose mean is `ratio` standard deviations."""
    torch.manual_seed(0)
    (x,) = case.maps(1)
    x += ratio
    p, m2 = kernels(case.tiling).moments(x, True)
    exact_p, exact_m2 = TorchKernels().moments(x.double(), True)
    torch.testing.assert_close(p.double(), exact_p, rtol=1e-6, atol=0)
    return float(((m2 - exact_m2) / exact_m2).abs().max())


def single_passes(case: Case) -> float:
    """Return the largest error of the passes with arguments that no tail gives them, and by masks as by maps."""
    torch.manual_seed(0)
    ours, definition = kernels(case.tiling), TorchKernels()
    x, r, dy = case.maps(3)
    n, c = case.shape[:2]
    ka, kc = (torch.randn(n, c, device=case.device).to(case.dtype) for _ in range(2))
    mu, r_mu = (torch.randn(c, device=case.device).to(case.dtype) for _ in range(2))
    y, mask = ours.apply(x, ka, kc, r, mu, r_mu, True)
    worst = distance((y,), definition.apply(x, ka, kc, r, mu, r_mu, True)[:1])
    for kept, other, keep in ((None, None, True), (None, r, True), (y, None, False), (y, r, False), (mask, None, True), (mask, r, False)):
        of_y = y if kept is mask else kept
        got, want = ours.reduce(dy, kept, x, mu, other, r_mu, keep), definition.reduce(dy, of_y, x, mu, other, r_mu, keep)
        assert got[3] is not dy
        worst = max(worst, distance(got, want))
    for kept, kb in ((None, None), (y, mu), (mask, None), (mask, mu)):
        of_y = y if kept is mask else kept
        worst = max(worst, distance((ours.spread(dy, kept, x, ka, kb, kc),), (definition.spread(dy, of_y, x, ka, kb, kc),)))
    for layout in LAYOUTS.values():  # of a shortcut, which need not be that of the branch
        found = ours.spread(dy, mask, r.contiguous(memory_format=layout), ka, mu, kc)
        worst = max(worst, distance((found,), (definition.spread(dy, y, r, ka, mu, kc),)))
    return worst


def distance(got: tuple[Tensor | None, ...], want: tuple[Tensor | None, ...]) -> float:
    """Return the largest difference of two rows of tensors of one form."""
    pairs = list(zip(got, want, strict=True))
    assert all((a is None) == (b is None) for a, b in pairs)
    return max(float((a - b).abs().max()) for a, b in pairs if a is not None and b is not None)


def bits(mask: Tensor, case: Case) -> Tensor:
    """Return a mask as a map of booleans, (N, C, H, W)."""
    _, c, h, w = case.shape
    rows = (mask[..., None] >> torch.arange(8, dtype=torch.uint8, device=mask.device) & 1).flatten(-2).bool()
    inner = c if mask.ndim == 4 else h * w
    assert not rows[..., inner:].any()
    return rows[..., :c].permute(0, 3, 1, 2) if mask.ndim == 4 else rows[..., : h * w].reshape(case.shape)


def mask_is_where_the_output_is_positive(case: Case) -> bool:
    """Return whether masks tell what is positive after rounding: not what is too small for the type, nor what is no number."""
    torch.manual_seed(0)
    (x,) = case.maps(1)
    x.flatten()[0] = torch.nan
    one = torch.ones(case.shape[:2], dtype=torch.promote_types(case.dtype, torch.float32), device=case.device)
    found = []
    for k in (1.0, 1e-9):
        y, mask = kernels(case.tiling).apply(x, k * one, 0 * one, None, None, None, True)
        assert mask is not None
        assert mask.dtype == torch.uint8
        assert mask.ndim == (4 if case.layout == "NHWC" else 3)
        found.append(torch.equal(bits(mask, case), y > 0))
    return all(found)


def not_a_number_passes() -> bool:
    """Return whether NaN comes through the ReLU of the forward pass and through the sums."""
    case = Case(None, None, None, True)
    (x,) = case.maps(1)
    x[0, 0, 0, 0] = torch.nan
    one = torch.ones(x.shape[:2], dtype=x.dtype)
    y, _ = kernels(case.tiling).apply(x, one, one, None, None, None, True)
    p, m2 = kernels(case.tiling).moments(x, True)
    return all(bool(v[0].isnan().any()) and not bool(v[1].isnan().any()) for v in (y, p, m2))


def by_its_name(device: str = "cpu") -> tuple[str, dict[str, float]]:
    """Run modules under `senet.backend("triton")`; return the name of what ran, and the errors against the reference."""
    torch.manual_seed(0)
    norm, block = nn.BatchNorm2d(8).double().to(device), ChannelSE(8, 2).double().to(device)
    x, r = (torch.randn(2, 8, 3, 3, dtype=torch.float64, device=device) for _ in range(2))
    found: list[list[Tensor]] = []
    for name in ("reference", "triton"):
        branch = x.clone().requires_grad_()
        with backend(name):
            y = residual_tail(branch, r, norm=norm, recalibrate=block)
        inputs = [branch, *norm.parameters(), *block.parameters()]
        found.append([y.detach(), *torch.autograd.grad(y.square().sum(), inputs)])
    with backend("triton"):
        chosen = choose(x)
    names = ("y", "x", *(f"norm.{key}" for key, _ in norm.named_parameters()), *(f"block.{key}" for key, _ in block.named_parameters()))
    return chosen.name, {key: float((a - b).abs().max()) for key, a, b in zip(names, *found, strict=True)}


def step_in_a_graph(case: Case) -> bool:
    """Return whether a step captured in a CUDA graph, replayed on other values, computes what it computes outside."""
    torch.manual_seed(0)
    tail, maps, others = lively(case), case.maps(3), case.maps(3)
    tensors = tensors_of(tail)

    def step() -> list[Tensor]:
        x, r = (v.detach().requires_grad_() for v in maps[:2])
        y = TailFunction.apply(kernels(case.tiling), Form.of(tail), x, r, *tensors)[0]
        return [y.detach(), *torch.autograd.grad(y, (x, r), maps[2])]

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    for v, other in zip(maps, others, strict=True):
        v.copy_(other)
    graph.replay()
    return all(torch.equal(a, b) for a, b in zip(captured, step(), strict=True))


def on(case: Case, device: str) -> Case:
    """Return a case for a device, with the tiling of its shape."""
    return replace(case, device=device, tiling=None)
