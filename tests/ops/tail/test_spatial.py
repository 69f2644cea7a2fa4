"""The fused tail of sSE and scSE equals autograd over the definition, in float64 and in half precision; its C++ passes equal torch's."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from oracles.pairwise import label, pairwise
from oracles.passes import LAYOUTS, compared, random_maps
from oracles.threads import same_bits
from senet import ChannelSE, ChannelSpatialSE, SpatialSE
from senet.blocks.channel import Gate
from senet.ops.backend import BUILDERS
from senet.ops.passes.protocol import Kernels
from senet.ops.passes.terms import Centred, Coefficients, GateOfPositions, Normalised, OutputGradient, PositionCoefficients, Shortcut
from senet.ops.passes.torch import TorchKernels
from senet.ops.tail.batchnorm import BatchNorm
from senet.ops.tail.gates import Projection
from senet.ops.tail.rows import SAVED, Saved
from senet.ops.tail.spatial import SpatialTail

LIMITS = {torch.float64: 1e-13, torch.float32: 3e-6, torch.bfloat16: 4e-3, torch.float16: 1e-3}
"""Type of the maps -> largest error of what a pass returns, relative to its norm: rounding of sums, or of the maps that are written."""


class Form(NamedTuple):
    norm: bool
    shortcut: str
    gate: Gate | None
    bias: bool
    relu: bool


FORMS = [
    Form(True, "identity", "sigmoid", True, True),
    Form(True, "identity", None, True, True),
    Form(True, "projected", "sigmoid", True, True),
    Form(True, "projected", None, False, True),
    Form(True, "projected", "tanh", True, False),
    Form(True, "identity", "hard_sigmoid", False, False),
    Form(True, "none", "relu", True, True),
    Form(True, "none", None, True, False),
    Form(False, "identity", "sigmoid", True, False),
    Form(False, "identity", "sigmoid", False, True),
    Form(False, "none", None, False, True),
    Form(False, "projected", None, True, True),
]
SHAPES = [(3, 8, 5, 4), (1, 16, 7, 3), (2, 5, 1, 1), (2, 33, 9, 11), (1, 530, 3, 5), (2, 6, 27, 31)]


KERNELS: dict[str, Callable[[], Kernels]] = {"torch": TorchKernels, "cpp": lambda: cpp()}


@pytest.fixture(params=KERNELS)
def kernels(request: pytest.FixtureRequest) -> Kernels:
    return KERNELS[request.param]()


@pytest.fixture
def passes() -> Kernels:
    return cpp()


def cpp() -> Kernels:
    kernels, reason = BUILDERS["cpp"]("cpu")
    if kernels is None:
        pytest.skip(f"the C++ operators cannot run here: {reason}")
    return kernels


class Unit(nn.Module):
    """The definition of a tail of a form, all lively."""

    def __init__(self, channels: int, form: Form) -> None:
        super().__init__()
        self.relu = form.relu
        self.norm, self.shortcut_norm = (
            nn.BatchNorm2d(channels) if wanted else nn.Identity() for wanted in (form.norm, form.shortcut == "projected")
        )
        self.block = SpatialSE(channels, bias=form.bias) if form.gate is None else ChannelSpatialSE(channels, bias=form.bias)
        if isinstance(self.block, ChannelSpatialSE) and form.gate is not None:
            self.block.cse = ChannelSE(channels, 2, bias=form.bias, gate=form.gate)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias)
                if module.running_mean is not None and module.running_var is not None:
                    nn.init.normal_(module.running_mean)
                    nn.init.uniform_(module.running_var, 0.5, 1.5)
            elif isinstance(module, nn.Linear | nn.Conv2d) and module.bias is not None:
                nn.init.normal_(module.bias)

    def forward(self, x: Tensor, r: Tensor | None) -> Tensor:
        v = self.block(self.norm(x))
        if r is not None:
            v = v + self.shortcut_norm(r)
        return torch.relu(v) if self.relu else v

    def tail(self) -> SpatialTail:
        """Return the same as data."""
        spatial, gate = (self.block, None) if isinstance(self.block, SpatialSE) else (self.block.sse, self.block.cse.tail_gates().channels)
        projection = Projection(spatial.conv.weight.flatten(), spatial.conv.bias)
        norm, r_norm = (as_data(part) for part in (self.norm, self.shortcut_norm))
        return SpatialTail(norm, gate, projection, r_norm, self.relu)


def as_data(norm: nn.Module) -> BatchNorm | None:
    if not isinstance(norm, nn.BatchNorm2d):
        return None
    return BatchNorm(norm.weight, norm.bias, norm.running_mean, norm.running_var, norm.training, norm.eps)


PLACES = {
    "norm.weight": "gamma",
    "norm.bias": "beta",
    "shortcut_norm.weight": "shortcut_gamma",
    "shortcut_norm.bias": "shortcut_beta",
    "block.cse.fc1.weight": "w1",
    "block.cse.fc1.bias": "b1",
    "block.cse.fc2.weight": "w2",
    "block.cse.fc2.bias": "b2",
    "block.conv.weight": "position_weight",
    "block.conv.bias": "position_bias",
    "block.sse.conv.weight": "position_weight",
    "block.sse.conv.bias": "position_bias",
}
"""Parameter of a `Unit` -> the name of its gradient."""


def by_autograd(unit: Unit, x: Tensor, r: Tensor | None, dy: Tensor) -> Iterator[tuple[str, Tensor]]:
    unit = copy.deepcopy(unit)
    given = [v.clone().requires_grad_() for v in (x, r) if v is not None]
    y = unit(given[0], given[1] if r is not None else None)
    y.backward(dy)
    yield from zip(("y", "x", "r"), (y.detach(), *(v.grad for v in given)), strict=False)  # pyright: ignore[reportReturnType]
    for key, parameter in unit.named_parameters():
        assert parameter.grad is not None
        yield PLACES[key], parameter.grad.flatten() if PLACES[key] == "position_weight" else parameter.grad


@torch.no_grad()
def by_formulas(unit: Unit, kernels: Kernels, x: Tensor, r: Tensor | None, dy: Tensor) -> dict[str, Tensor]:
    tail = unit.tail()
    output = tail.forward(kernels, x, r)
    row = output.saved.row()
    assert len(row) == len(SAVED)
    found = tail.backward(kernels, dy, Saved.of(row, has_shortcut=r is not None))
    named = {"y": output.y, "x": found.x, "r": found.shortcut, **vars(found.tensors)}
    return {key: value for key, value in named.items() if value is not None}


@pytest.mark.parametrize("case", pairwise({"form": FORMS, "shape": SHAPES, "kernels": [*KERNELS]}), ids=label)
def test_equals_autograd_over_the_definition(case: dict[str, Any]) -> None:
    form, shape, kernels = case["form"], case["shape"], KERNELS[case["kernels"]]()
    for layout, training, shortcut_training in product(LAYOUTS.values(), (True, False), (True, False)):
        if shortcut_training != training and not (form.norm and form.shortcut == "projected"):
            continue
        torch.manual_seed(0)
        unit = Unit(shape[1], form).double()
        unit.norm.train(training)
        unit.shortcut_norm.train(shortcut_training)
        x, r, dy = (torch.randn(shape, dtype=torch.float64).to(memory_format=layout) for _ in range(3))
        shortcut = None if form.shortcut == "none" else r
        want, got = dict(by_autograd(unit, x, shortcut, dy)), by_formulas(unit, kernels, x, shortcut, dy)
        errors = {key: float((got[key] - value).abs().max()) / max(1.0, float(value.abs().max())) for key, value in want.items()}
        assert max(errors.values()) < 1e-12, errors
        assert got["y"].is_contiguous(memory_format=layout)
        assert got["x"].is_contiguous(memory_format=layout)


def test_one_position_of_one_image(kernels: Kernels) -> None:
    torch.manual_seed(0)
    for form in FORMS:
        unit = Unit(7, form).double().eval()
        x, r, dy = (torch.randn(1, 7, 1, 1, dtype=torch.float64) for _ in range(3))
        shortcut = None if form.shortcut == "none" else r
        got = by_formulas(unit, kernels, x, shortcut, dy)
        for key, value in by_autograd(unit, x, shortcut, dy):
            torch.testing.assert_close(got[key], value, rtol=1e-12, atol=1e-12, msg=f"{form} {key}")


def test_statistics_are_those_of_the_batch(kernels: Kernels) -> None:
    x, r = (torch.randn(3, 6, 5, 4, dtype=torch.float64) + 2 for _ in range(2))
    unit = Unit(6, FORMS[2]).double()
    with torch.no_grad():
        found = unit.tail().forward(kernels, x, r).row()[1:]
    want = [statistic for v in (x, r) for statistic in (v.mean((0, 2, 3)), v.var((0, 2, 3)))]
    for one, two in zip(found, want, strict=True):
        assert one is not None
        torch.testing.assert_close(one, two, rtol=1e-13, atol=0)
    unit.eval()
    with torch.no_grad():
        assert unit.tail().forward(kernels, x, r).row()[1:] == (None,) * 4


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_half_precision_is_judged_by_float64(kernels: Kernels, dtype: torch.dtype, layout: str) -> None:
    for form in FORMS[:4]:
        torch.manual_seed(0)
        unit = Unit(32, form)
        x, r, dy = (torch.randn(4, 32, 12, 12).to(dtype).to(memory_format=LAYOUTS[layout]) for _ in range(3))
        want = dict(by_autograd(copy.deepcopy(unit).double(), x.double(), r.double(), dy.double()))
        got = by_formulas(unit, kernels, x, r, dy)
        flipped = (got["y"] > 0) != (want["y"] > 0)  # where rounding flips the ReLU, gradients of both are right
        assert float(flipped.double().mean()) < 1e-2
        for key, value in want.items():
            is_map = value.shape == x.shape
            wanted, found = (torch.where(flipped, 0, v.double()) if is_map else v.double() for v in (value, got[key]))
            error = float((found - wanted).norm() / wanted.norm())
            assert error < (LIMITS[dtype] if is_map else 2e-2), (form, key, error)
            assert got[key].dtype == (dtype if is_map else torch.float32)


def test_only_gates_of_positions_are_kept_beside_x_and_y(kernels: Kernels) -> None:
    x = torch.randn(2, 12, 6, 5)
    with torch.no_grad():
        output = Unit(12, FORMS[0]).tail().forward(kernels, x, x)
    assert output.saved.relu_mask is output.y
    assert output.saved.x is x
    assert sum(v.numel() for v in output.saved.row() if v is not None and v.ndim == 4) == 2 * x.numel() + x.numel() // 12


def vectors(x: Tensor) -> dict[str, Tensor]:
    """Return what the passes take beside maps: by channel, by image and channel (by_g, constant, s), by position (q, dl)."""
    generator = torch.Generator().manual_seed(1)
    n, c, *size = x.shape
    of_channels = ("scale", "shift", "weight", "mean", "r_scale", "r_shift", "by_x", "by_gq", "by_dl")
    shapes = {**dict.fromkeys(of_channels, (c,)), **dict.fromkeys(("by_g", "constant", "s"), (n, c))}
    shapes |= {"q": (n, 1, *size), "dl": (n, 1, *size), "bias": ()}
    drawn = {key: torch.randn(shape, dtype=torch.float64, generator=generator) for key, shape in shapes.items()}
    drawn["weight"] /= c**0.5
    return {key: v.to(torch.promote_types(x.dtype, torch.float32)) for key, v in drawn.items()}


def results(kernels: Kernels, x: Tensor, dy: Tensor, y: Tensor, r: Tensor) -> Iterator[tuple[str, Tensor | None]]:
    """Give what each pass returns, with every combination of what may be absent."""
    v = vectors(x)
    branch = Normalised(x, v["mean"], v["scale"], v["shift"])
    shortcuts = {"none": None, "identity": Shortcut(r), "projection": Shortcut(r, v["r_scale"], v["r_shift"])}
    for relu, s, (name, shortcut) in product((True, False), (v["s"], None), shortcuts.items()):
        given = f"{name} {s is not None} {relu}"
        found = kernels.apply_positions(branch, GateOfPositions(v["weight"], v["bias"], s), shortcut, relu)
        yield from zip((f"y {given}", f"mask {given}", f"q {given}"), found, strict=True)
    for mask, store, projected in product((y, None), (True, False), (True, False)):
        given = f"{mask is not None} {store} {projected}"
        shortcut = Centred(r, v["r_shift"]) if projected else None
        sums = kernels.reduce_positions(OutputGradient(dy, mask), branch, torch.sigmoid(v["q"]), shortcut, store)
        yield from ((f"{name} {given}", value) for name, value in vars(sums).items())
    positions = PositionCoefficients(v["q"], v["dl"], v["by_gq"], v["by_dl"])
    for mask, by_x in product((y, None), (v["by_x"], None)):
        dx = kernels.spread_positions(OutputGradient(dy, mask), x, Coefficients(v["by_g"], by_x, v["constant"]), positions)
        yield f"dx {mask is not None} {by_x is not None}", dx


@pytest.mark.parametrize("case", pairwise({"channels": [1, 3, 17, 65, 600], "dtype": [*LIMITS], "layout": [*LAYOUTS]}), ids=label)
def test_cpp_equals_torch_in_float64(passes: Kernels, case: dict[str, Any]) -> None:
    channels, dtype, layout = case["channels"], case["dtype"], case["layout"]
    torch.manual_seed(0)
    for images, size in ((3, (1, 1)), (1, (3, 5)), (3, (9, 11)), (1, (37, 23))):
        given = random_maps((images, channels, *size), dtype, layout)
        want = dict(results(TorchKernels(), *(v.double() for v in given)))
        for value, exact in compared(results(passes, *given), want, LIMITS[dtype], images * channels):
            assert value.shape == exact.shape
            if value.shape == given[0].shape and channels > 1:
                assert value.dtype == dtype
                assert value.is_contiguous(memory_format=LAYOUTS[layout])
            elif value.ndim == 4 and channels > 1:
                assert value.is_contiguous()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pieces_of_a_large_image_are_combined(passes: Kernels, layout: str) -> None:
    torch.manual_seed(0)
    for shape in ((1, 5, 181, 179), (1, 300, 23, 37)):  # several pieces in either layout, of unequal size
        given = random_maps(shape, torch.float64, layout)
        want = dict(results(TorchKernels(), *given))
        for key, value in results(passes, *given):
            torch.testing.assert_close(value, want[key], rtol=1e-11, atol=1e-10, msg=key)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_threads_change_no_bit(passes: Kernels, layout: str) -> None:
    torch.manual_seed(0)
    given = [random_maps(shape, torch.float32, layout) for shape in ((5, 65, 33, 31), (1, 24, 181, 179), (3, 520, 9, 31))]
    assert same_bits(lambda: [value for row in given for _, value in results(passes, *row) if value is not None])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_channel_without_a_number_spoils_its_position_alone(passes: Kernels, layout: str) -> None:
    x = torch.ones(1, 20, 3, 3).to(memory_format=LAYOUTS[layout])
    x[0, 1, 1, 1] = float("nan")
    one = torch.ones(20)
    y, _, q = passes.apply_positions(Normalised(x, one, one, one), GateOfPositions(one, torch.zeros(())), None, True)
    assert torch.equal(q.isnan()[0, 0], torch.arange(9).view(3, 3) == 4)
    assert torch.equal(y.isnan(), q.isnan().expand_as(y))


def test_gates_saturate(passes: Kernels) -> None:
    x = torch.tensor([-1e4, 0.0, 1e4]).view(1, 1, 1, 3)
    one = torch.ones(1)
    _, _, q = passes.apply_positions(Normalised(x, one, one, one), GateOfPositions(one, torch.zeros(())), None, False)
    assert q.flatten().tolist() == [0, 0.5, 1]


def test_operators_keep_the_rules_of_torch(passes: Kernels) -> None:
    x, dy, y, r = random_maps((2, 6, 5, 4), torch.float32, "NHWC")
    v = vectors(x)
    operators = torch.ops.senet_cpp
    affine, shortcut = (v["scale"], v["shift"]), (r, v["r_scale"], v["r_shift"])
    of_channels, of_positions = (v["by_g"], v["by_x"], v["constant"]), (v["by_gq"], v["by_dl"], v["q"], v["dl"])
    for operator, arguments in (
        (operators.apply_positions, (x, *affine, v["weight"], v["bias"], v["s"], *shortcut, True)),
        (operators.apply_positions, (x, *affine, v["weight"], v["bias"], None, None, None, None, False)),
        (operators.reduce_positions, (dy, y, x, v["mean"], *affine, v["q"], r, v["r_shift"], True)),
        (operators.reduce_positions, (dy, None, x, v["mean"], *affine, v["q"], None, None, False)),
        (operators.spread_positions, (dy, y, x, *of_channels, *of_positions)),
    ):
        torch.library.opcheck(operator.default, arguments, test_utils=("test_schema", "test_faketensor"))


def test_wrong_shapes_are_refused(passes: Kernels) -> None:
    x = torch.randn(2, 6, 5, 4)
    v = vectors(x)
    branch, gate = Normalised(x, v["mean"], v["scale"], v["shift"]), GateOfPositions(v["weight"], v["bias"])
    with pytest.raises(RuntimeError, match="not empty"):
        passes.apply_positions(replace(branch, map=x[:0]), gate, None, True)
    with pytest.raises(RuntimeError, match="both rk and rt"):
        passes.apply_positions(branch, gate, Shortcut(x, v["r_scale"]), True)
    with pytest.raises(RuntimeError, match="expected 40 values"):
        passes.reduce_positions(OutputGradient(x), branch, v["q"][:1], None, False)
