"""The passes of a tail as Triton kernels against their definition in float64; for a process of Triton's interpreter, and for a device."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from oracles.passes import LAYOUTS
from senet import ChannelSE, backend
from senet.ops.backend import choose
from senet.ops.passes.terms import Centred, Coefficients, GradientSums, OutputGradient, Shortcut
from senet.ops.passes.torch import TorchKernels
from senet.ops.tail.autograd import TailFunction
from senet.ops.tail.batchnorm import BatchNorm
from senet.ops.tail.call import residual_tail
from senet.ops.tail.channel import ChannelTail
from senet.ops.tail.form import Form, Tail, tensors_of
from senet.ops.tail.gates import Excitation
from senet.ops.tail.rows import Saved, TailTensors

SMALL = (8, 16, 128, 128, 8, 16)
"""A tiling with which maps of a few positions have several tiles and spans."""

MAPS = ("y", "x", "r")
"""Results that are maps."""

LIMITS = {torch.float64: (1e-12, 1e-12), torch.float32: (3e-6, 3e-6), torch.float16: (1e-3, 1e-5), torch.bfloat16: (8e-3, 1e-5)}
"""The largest errors of maps and of vectors. Triton's interpreter cuts bfloat16 off where a device rounds."""


@dataclass(frozen=True)
class Case:
    """The computation: statistics of the norms ("batch", "running" or none), gate, ReLU; on which maps, where, by which tiling.

    Args:
        hidden: hidden units.
        weights: type of the parameters; None = that of the sums.
        shortcut: whether there is one.
    """

    norm: str | None
    r_norm: str | None
    gate: str | None
    relu: bool
    shape: tuple[int, int, int, int] = (2, 9, 5, 7)
    layout: str = "NHWC"
    dtype: torch.dtype = torch.float64
    tiling: tuple[int, ...] | None = SMALL
    device: str = "cpu"
    hidden: int = 4
    gain: float = 1.0
    weights: torch.dtype | None = None
    shortcut: bool = True

    def maps(self, count: int) -> list[Tensor]:
        """Return maps."""
        made = (torch.randn(self.shape, device=self.device).to(self.dtype) for _ in range(count))
        return [v.contiguous(memory_format=LAYOUTS[self.layout]) for v in made]


ORDERS, MARGIN = 4, 6
"""In how many orders the definition is computed in a case's own types, and how much of its largest error is let pass beyond the limits.

How far a gradient of the gate is from the exact one is a matter of the values: behind 2,048 channels the definition in float32 errs by
4e-7 to 4e-4, by the draw. In another order, of channels and all, it errs by up to 3.1 times as much (50 draws).
"""

Own = Callable[[Any, int], dict[str, float]]
"""Errors of some passes on the case's maps, rolled by so many images and positions."""


def check(case: Case, found: dict[str, float], own: Own | None = None) -> None:
    """Raise AssertionError unless the errors of what a case computes are within the limits of its type.

    Sums may be long where `own` is given: then they may add to that what the definition errs by in the case's own types.
    """
    of_map, of_vector = LIMITS[case.dtype]
    limits = {key: of_map if key in MAPS else of_vector for key in found}
    beyond = {key: error for key, error in found.items() if not error <= limits[key]}
    if beyond and own is not None:
        by_order = [own(TorchKernels(), order) for order in range(ORDERS)]
        beyond = {key: error for key, error in beyond.items() if not error <= limits[key] + MARGIN * max(e[key] for e in by_order)}
    assert not beyond, (case, beyond)


def rolled(maps: list[Tensor], by: int) -> list[Tensor]:
    """Return maps with images and positions moved around, so that sums run in another order."""
    return [torch.empty_like(v).copy_(v.roll((by, by, by), (0, 2, 3))) for v in maps]


@cache
def kernels(tiling: tuple[int, ...] | None):
    """Return the kernels; imported late, since triton is told by the environment whether it interprets."""
    from senet.ops.passes.triton.passes import Tiling, TritonKernels

    return TritonKernels(None if tiling is None else Tiling(*tiling))


def lively(case: Case) -> ChannelTail:
    """Return a tail with drawn parameters, in float32 or float64."""
    n, h, wide = case.shape[1], case.hidden, case.weights or torch.promote_types(case.dtype, torch.float32)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, device=case.device).to(wide)

    def norm(statistics: str | None) -> BatchNorm | None:
        return None if statistics is None else BatchNorm(draw(n), draw(n), draw(n), draw(n).abs() + 0.5, statistics == "batch", 1e-5)

    gate = None if case.gate is None else Excitation(draw(h, n), draw(h), draw(n, h), draw(n), case.gate, case.gain)
    return ChannelTail(norm(case.norm), gate, norm(case.r_norm), case.relu)


def results(passes: Any, tail: Any, x: Tensor, r: Tensor | None, dy: Tensor, y: Tensor | None = None) -> dict[str, Tensor]:
    """Return all that forward and backward compute; the backward pass takes the ReLU from y where it is given."""
    output = tail.forward(passes, x, r)
    saved = Saved.of(output.saved.row(), has_shortcut=r is not None)
    if y is not None and tail.relu:
        saved = replace(saved, relu_mask=y)
    found = tail.backward(passes, dy, saved)
    named = dict(zip(("y", "mean", "var", "shortcut_mean", "shortcut_var"), output.row(), strict=True))
    tensors = tensors_of(tail)
    named |= {"x": found.x, "r": found.shortcut} | {f"d{key}": v for key, v in zip(vars(tensors), found.row(tensors), strict=True)}
    return {key: value for key, value in named.items() if value is not None}


def errors(case: Case, passes: Any = None, order: int = 0) -> dict[str, float]:
    """Return the largest error of each result of the kernels, or of other passes, as a share of the largest value or of 1."""
    torch.manual_seed(0)
    tail = lively(case)
    return errors_of(tail, exact(tail), case, passes, order)


def errors_of(tail: Any, precise: Any, case: Case, passes: Any = None, order: int = 0) -> dict[str, float]:
    """Return the errors of a tail against the same one with parameters in float64; types and formats must be the case's."""
    x, r, dy = rolled(case.maps(3), order)
    r, of_r = (r, r.double()) if case.shortcut else (None, None)
    got = results(passes or kernels(case.tiling), tail, x, r, dy)
    want = results(TorchKernels(), precise, x.double(), of_r, dy.double(), got["y"])
    assert got.keys() == want.keys()
    for key in MAPS[: 2 + case.shortcut]:
        assert got[key].dtype == case.dtype
        assert got[key].is_contiguous(memory_format=LAYOUTS[case.layout])
    return _shares(got, want)


def exact(tail: Tail) -> Tail:
    """Return a tail in float64."""
    tensors = (None if v is None else v.double() for v in tensors_of(tail).row())
    return Form.of(tail).tail(TailTensors(*tensors))


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
    by_g, constant = (torch.randn(n, c, device=case.device).to(case.dtype) for _ in range(2))
    mean, r_mean = (torch.randn(c, device=case.device).to(case.dtype) for _ in range(2))
    shortcut = Shortcut(r, mean, r_mean)
    y, mask = ours.apply(x, by_g, constant, shortcut, True)
    worst = distance((y,), definition.apply(x, by_g, constant, shortcut, True)[:1])
    projected = Centred(r, r_mean)
    cases = (
        (None, None, True),
        (None, projected, True),
        (y, None, False),
        (y, projected, False),
        (mask, None, True),
        (mask, projected, False),
    )
    for given, other, store in cases:
        gradient, of_y = (OutputGradient(dy, v) for v in (given, y if given is mask else given))
        got, want = (row(k.reduce(v, Centred(x, mean), other, store)) for k, v in ((ours, gradient), (definition, of_y)))
        assert got[3] is not dy
        worst = max(worst, distance(got, want))
    for given, by_x in ((None, None), (y, mean), (mask, None), (mask, mean)):
        gradient, of_y = (OutputGradient(dy, v) for v in (given, y if given is mask else given))
        coefficients = Coefficients(by_g, by_x, constant)
        worst = max(worst, distance((ours.spread(gradient, x, coefficients),), (definition.spread(of_y, x, coefficients),)))
    for layout in LAYOUTS.values():  # of a shortcut, which need not be that of the branch
        coefficients = Coefficients(by_g, mean, constant)
        found = ours.spread(OutputGradient(dy, mask), r.contiguous(memory_format=layout), coefficients)
        worst = max(worst, distance((found,), (definition.spread(OutputGradient(dy, y), r, coefficients),)))
    return worst


def row(sums: GradientSums) -> tuple[Tensor | None, ...]:
    """Return sums in a fixed order."""
    return sums.g, sums.gx, sums.gr, sums.gradient


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
    for k, t in ((1.0, 0.5), (1e-9, 0.0)):
        y, mask = kernels(case.tiling).apply(x, k * one, t * one, None, True)
        assert mask is not None
        assert mask.dtype == torch.uint8
        assert mask.ndim == (4 if case.layout == "NHWC" else 3)
        found.append(torch.equal(bits(mask, case), y > 0))
    return all(found)


def rescales_in_place(case: Case) -> float:
    """Return the largest error of scaling a map where it lies, with and without shortcut and ReLU."""
    torch.manual_seed(0)
    worst = 0.0
    for with_shortcut in (False, True):
        for relu in (False, True):
            y, r = case.maps(2)
            s = torch.randn(case.shape[:2], dtype=case.dtype, device=case.device)
            want = y * s[..., None, None] + (r if with_shortcut else 0)
            want = torch.relu(want) if relu else want
            kernels(case.tiling).rescale_(y, s, r if with_shortcut else None, relu)
            worst = max(worst, float((y - want).abs().max()))
    return worst


def not_a_number_passes() -> bool:
    """Return whether NaN comes through the ReLU of the forward pass and through the sums."""
    case = Case(None, None, None, True)
    (x,) = case.maps(1)
    x[0, 0, 0, 0] = torch.nan
    one = torch.ones(x.shape[:2], dtype=x.dtype)
    y, _ = kernels(case.tiling).apply(x, one, one, None, True)
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
    tail, maps = lively(case), case.maps(3)
    tensors = tensors_of(tail).row()

    def step() -> list[Tensor]:
        x, r = (v.detach().requires_grad_() for v in maps[:2])
        y = TailFunction.apply(kernels(case.tiling), Form.of(tail), x, r, *tensors)[0]
        return [y.detach(), *torch.autograd.grad(y, (x, r), maps[2])]

    return replays(step, maps)


def replays(step: Callable[[], list[Tensor]], given: list[Tensor]) -> bool:
    """Return whether a step captured in a CUDA graph computes twice, on other values in its tensors, what it computes outside."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    for v in given:
        v.copy_(torch.randn_like(v))
    graph.replay()
    first = [v.clone() for v in captured]
    graph.replay()
    return all(torch.equal(a, b) and torch.equal(a, c) for a, b, c in zip(captured, first, step(), strict=True))


def compiled_whole(compiler: str, device: str = "cpu") -> bool:
    """Return whether torch.compile makes one graph of a unit's tail, with the bits of the eager form in output and gradients."""
    torch.manual_seed(0)
    norm, block = nn.BatchNorm2d(12).to(device), ChannelSE(12, 2).to(device)
    tail = partial(residual_tail, norm=norm, recalibrate=block)
    for layout in LAYOUTS.values():
        branch, r, dy = (torch.randn(2, 12, 3, 3, device=device).to(memory_format=layout) for _ in range(3))
        branch.requires_grad_()
        found = []
        for run in (tail, torch.compile(tail, backend=compiler, fullgraph=True)):
            with backend("triton"):
                y = run(branch, r)
            found.append([y.detach(), *torch.autograd.grad(y, [branch, *norm.parameters(), *block.parameters()], dy)])
        if not all(torch.equal(a, b) for a, b in zip(*found, strict=True)):
            return False
    return True


def keep_the_rules_for_operators(layout: str) -> None:
    """Hold the tail as an operator of torch to what compilers are told of it.

    Raises:
        Exception: torch's, if it is not so.
    """
    torch.manual_seed(0)
    case = Case("batch", None, "sigmoid", True, layout=layout)
    torch.library.opcheck(torch.ops.senet.tail, operands(lively(case), case.maps(2), "triton"))


def operands(tail: Tail, maps: list[Tensor], name: str) -> tuple[Any, ...]:
    """Return the arguments of `senet::tail`, with gradients for all but the running statistics."""
    for v in (*maps, *tensors_of(tail).parameters()):
        if v is not None:
            v.requires_grad_()
    return (*maps, *tensors_of(tail).row(), *Form.of(tail).arguments(), name)


def beyond_32_bits(case: Case) -> tuple[dict[str, float], dict[str, float]]:
    """Return the errors in the last image of maps with more elements than 32 bits count, as shares of the largest value or of 1.

    And those of the definition in the case's own types, on that image alone.
    """
    torch.manual_seed(0)
    x = torch.zeros(case.shape, dtype=case.dtype, device=case.device).to(memory_format=LAYOUTS[case.layout])
    assert x.numel() > 2**31
    x[-1].normal_()
    vectors = [*torch.randn(2, *case.shape[:2], device=case.device), torch.randn(case.shape[1], device=case.device)]
    of_last = [*(v[-1:] for v in vectors[:2]), vectors[2]]
    found = _of_last_image(kernels(case.tiling), x, vectors)
    want = _of_last_image(TorchKernels(), x[-1:].double(), [v.double() for v in of_last], found["y"].double())
    own = _of_last_image(TorchKernels(), x[-1:], of_last, found["y"])
    return _shares(found, want), _shares(own, want)


def _shares(got: dict[str, Tensor], want: dict[str, Tensor]) -> dict[str, float]:
    """Return the largest error of each result, as a share of the largest value or of 1."""
    return {key: float((got[key] - value).abs().max()) / max(1.0, float(value.abs().max())) for key, value in want.items()}


def _of_last_image(passes: Any, x: Tensor, vectors: list[Tensor], y: Tensor | None = None) -> dict[str, Tensor]:
    """Return what the passes give for the last image, whose ReLU is told by y where that is given."""
    by_g, constant, mean = vectors
    made, mask = passes.apply(x, by_g, constant, None, True)
    found = {"y": made[-1:].clone()}
    del made
    gradient = OutputGradient(x, mask if y is None else y)
    g, gx = row(passes.reduce(gradient, Centred(x, mean), None, False))[:2]
    p, m2 = passes.moments(x, True)
    dx = passes.spread(gradient, x, Coefficients(by_g, mean, constant))
    return found | {key: v[-1:] for key, v in zip(("p", "m2", "g", "gx", "x"), (p, m2, g, gx, dx), strict=True)}  # pyright: ignore


def on(case: Case, device: str) -> Case:
    """Return a case for a device, with the tiling of its shape."""
    return replace(case, device=device, tiling=None)
