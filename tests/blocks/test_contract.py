"""What every block does, of every kind and with every option: one contract class against the NumPy forms of the papers' equations."""

import copy
import io
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from oracles import numpy_blocks as oracle
from senet import BlockSpec, build_block
from senet.errors import UsageError
from senet.spec import KINDS, block_class

FORMS: dict[str, Callable[..., np.ndarray]] = {
    "se": oracle.channel_se,
    "sse": oracle.spatial_se,
    "scse": oracle.channel_spatial_se,
    "cmpe_se": oracle.competitive_se,
}
NUMPY_OPTIONS = ("squeeze", "gate", "combine", "variant")

CASES = {  # name -> (spec, channels)
    "se": (BlockSpec("se", reduction=2), 6),
    "se max": (BlockSpec("se", reduction=2, squeeze="max"), 6),
    "se none": (BlockSpec("se", reduction=2, squeeze="none"), 6),
    "se tanh": (BlockSpec("se", reduction=2, gate="tanh"), 6),
    "se relu": (BlockSpec("se", reduction=2, gate="relu"), 6),
    "se hard_sigmoid": (BlockSpec("se", reduction=2, gate="hard_sigmoid"), 6),
    "se max hard_sigmoid": (BlockSpec("se", reduction=2, squeeze="max", gate="hard_sigmoid"), 6),
    "se none tanh": (BlockSpec("se", reduction=2, squeeze="none", gate="tanh"), 6),
    "se without bias": (BlockSpec("se", reduction=2, bias=False), 6),
    "se hidden": (BlockSpec("se", hidden=5), 6),
    "se of one channel": (BlockSpec("se"), 1),
    "se of fewer channels than r": (BlockSpec("se"), 5),
    "sse": (BlockSpec("sse"), 6),
    "sse without bias": (BlockSpec("sse", bias=False), 6),
    "sse of one channel": (BlockSpec("sse"), 1),
    "scse": (BlockSpec("scse"), 6),
    "scse max": (BlockSpec("scse", combine="max"), 6),
    "scse multiply": (BlockSpec("scse", combine="multiply"), 6),
    "scse concat": (BlockSpec("scse", combine="concat"), 6),
    "scse concat without bias": (BlockSpec("scse", combine="concat", bias=False), 5),
    "scse of one channel": (BlockSpec("scse"), 1),
    "scse of fewer channels than r": (BlockSpec("scse", reduction=8, combine="max"), 3),
    "cmpe_se": (BlockSpec("cmpe_se", reduction=2), 6),
    "cmpe_se with bias": (BlockSpec("cmpe_se", reduction=2, bias=True), 6),
    "cmpe_se of one channel": (BlockSpec("cmpe_se"), 1),
    "cmpe_se pair_2x1": (BlockSpec("cmpe_se", variant="pair_2x1", reduction=2, maps=3), 6),
    "cmpe_se pair_2x1 of one channel": (BlockSpec("cmpe_se", variant="pair_2x1"), 1),
    "cmpe_se pair_1x1": (BlockSpec("cmpe_se", variant="pair_1x1", hidden=4, maps=2), 6),
    "cmpe_se pair_1x1 with bias": (BlockSpec("cmpe_se", variant="pair_1x1", bias=True), 5),
    "cmpe_se folded_3x3 columns": (BlockSpec("cmpe_se", variant="folded_3x3", reduction=2, fold="columns", fold_size=4, maps=2), 12),
    "cmpe_se folded_3x3 rows": (BlockSpec("cmpe_se", variant="folded_3x3", reduction=2, fold="rows", fold_size=2, maps=2), 12),
}
DISTINCT = [
    *("se", "se none", "sse", "scse", "scse max", "scse concat"),
    *("cmpe_se", "cmpe_se pair_2x1", "cmpe_se pair_1x1", "cmpe_se folded_3x3 rows"),
]
"""The cases that differ in what they execute, for what takes seconds."""

SHAPES = [(), (5,), (1, 1), (7, 3), (2, 3, 2)]


def build(name: str, dtype: torch.dtype = torch.float64) -> nn.Module:
    """Return a block whose every parameter is random."""
    block = build_block(*CASES[name])
    generator = torch.Generator().manual_seed(1)
    for parameter in block.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return block.to(dtype)


def inputs_of(name: str, shape: tuple[int, ...], batch: int = 3, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Return what the block takes: one map, or for CMPE-SE branch and shortcut."""
    spec, channels = CASES[name]
    generator = torch.Generator().manual_seed(2)
    count = 2 if block_class(spec.kind).sees_shortcut else 1
    return [torch.randn(batch, channels, *shape, generator=generator, dtype=torch.float64).to(dtype) for _ in range(count)]


def numpy_form(name: str) -> Callable[..., np.ndarray]:
    spec, channels = CASES[name]
    options = {option: value for option, value in spec.options.items() if option in NUMPY_OPTIONS}
    if "fold" in spec.options:
        options["columns"] = spec.fold_size if spec.fold == "columns" else channels // spec.fold_size
    return partial(FORMS[spec.kind], **options)


def arrays(block: nn.Module) -> dict[str, np.ndarray]:
    return {key: parameter.detach().double().numpy() for key, parameter in block.named_parameters()}


def expected(name: str, block: nn.Module, inputs: list[Tensor]) -> Tensor:
    return torch.from_numpy(numpy_form(name)(*(x.double().numpy() for x in inputs), arrays(block)))


@pytest.mark.parametrize("name", CASES)
class TestContract:
    @pytest.mark.parametrize("shape", SHAPES, ids=str)
    def test_value(self, name: str, shape: tuple[int, ...]) -> None:
        block, inputs = build(name), inputs_of(name, shape)
        torch.testing.assert_close(block(*inputs), expected(name, block, inputs), rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize("shape", [(), (3, 2)], ids=str)
    def test_every_gradient(self, name: str, shape: tuple[int, ...]) -> None:
        block, inputs = build(name), [x.requires_grad_() for x in inputs_of(name, shape, batch=2)]
        out = block(*inputs)
        cotangent = torch.randn(out.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
        out.backward(cotangent)
        by_inputs, by_parameters = oracle.gradients(
            numpy_form(name), [x.detach().numpy() for x in inputs], arrays(block), cotangent.numpy()
        )
        for x, want in zip(inputs, by_inputs, strict=True):
            torch.testing.assert_close(x.grad, torch.from_numpy(want), rtol=1e-10, atol=1e-12)
        for key, parameter in block.named_parameters():
            torch.testing.assert_close(parameter.grad, torch.from_numpy(by_parameters[key]), rtol=1e-10, atol=1e-12)

    def test_gradcheck(self, name: str) -> None:
        block, inputs = build(name), [x.requires_grad_() for x in inputs_of(name, (2, 1), batch=2)]
        keys, parameters = zip(*block.named_parameters(), strict=True)

        def run(*tensors: Tensor) -> Tensor:
            return functional_call(block, dict(zip(keys, tensors[len(inputs) :], strict=True)), tensors[: len(inputs)])

        assert torch.autograd.gradcheck(run, (*inputs, *(p.detach().requires_grad_() for p in parameters)))

    def test_empty_batch(self, name: str) -> None:
        block, inputs = build(name), [x.requires_grad_() for x in inputs_of(name, (3, 2), batch=0)]
        out = block(*inputs)
        out.sum().backward()
        assert out.shape == inputs[0].shape
        assert all(torch.equal(p.grad, torch.zeros_like(p)) for p in block.parameters())
        assert all(buffer.isfinite().all() for buffer in block.buffers())

    @pytest.mark.parametrize("weights", [torch.float32, None], ids=["weights float32", "weights too"])
    @pytest.mark.parametrize(("dtype", "rounding"), [(torch.float16, 2**-11), (torch.bfloat16, 2**-8)], ids=["float16", "bfloat16"])
    def test_half_precision(self, name: str, dtype: torch.dtype, rounding: float, weights: torch.dtype | None) -> None:
        block, inputs = build(name, dtype).to(weights or dtype), inputs_of(name, (4, 3), dtype=dtype)
        out = block(*inputs)
        want = expected(name, block, inputs)
        assert out.dtype == dtype
        factors = 5  # roundings of gates, products and sums; inside a block there are none
        torch.testing.assert_close(out.double(), want, rtol=factors * rounding, atol=factors * rounding * want.abs().max().item())

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
    def test_half_precision_gates_are_float32_inside(self, name: str, dtype: torch.dtype) -> None:
        block, inputs = build(name, dtype), inputs_of(name, (4, 3), dtype=dtype)
        parts = [block.cse, block.sse] if CASES[name][0].kind == "scse" else [block]
        for part in parts:
            gate = part.gate(*inputs)
            want = copy.deepcopy(part).double().gate(*(x.double() for x in inputs))
            assert gate.dtype == torch.float32
            torch.testing.assert_close(gate.double(), want, rtol=1e-4, atol=1e-5)

    def test_half_weights_alone(self, name: str) -> None:
        block, inputs = build(name, torch.float16), inputs_of(name, (4, 3), dtype=torch.float32)
        out = block(*inputs)
        assert out.dtype == torch.float32
        torch.testing.assert_close(out.double(), expected(name, block, inputs), rtol=1e-4, atol=1e-4)

    def test_large_float16_activations(self, name: str) -> None:
        if CASES[name][0].options.get("combine") == "multiply":
            pytest.skip("the product of two maps of 6e4 is beyond float16 itself")
        block = build(name, torch.float32)
        for key, parameter in block.named_parameters():
            if "weight" in key and "bn" not in key:
                parameter.data /= 6e4  # gates away from their ends, so that rounding inside would show
        inputs = [torch.full_like(x, 6e4) * (0.9 + 0.02 * x.clamp(-4, 4)) for x in inputs_of(name, (16, 16), dtype=torch.float16)]
        out = block(*inputs).double()
        want = expected(name, block, inputs)
        possible = want.abs() < 65504
        assert possible.any()
        torch.testing.assert_close(out[possible], want[possible], rtol=5e-3, atol=5e-3 * 6e4)

    def test_autocast_changes_nothing(self, name: str) -> None:
        block, inputs = build(name, torch.float32).eval(), inputs_of(name, (4, 3), dtype=torch.float32)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = block(*inputs)
        assert torch.equal(out, block(*inputs))

    @pytest.mark.parametrize(("shape", "layout"), [((4, 3), torch.channels_last), ((2, 3, 2), torch.channels_last_3d)], ids=str)
    def test_memory_format_is_kept(self, name: str, shape: tuple[int, ...], layout: torch.memory_format) -> None:
        block, inputs = build(name), inputs_of(name, shape)
        want = block(*inputs)
        got = block(*(x.contiguous(memory_format=layout) for x in inputs))
        assert want.is_contiguous()
        assert got.is_contiguous(memory_format=layout)
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize(("shape", "layout"), [((4, 3), torch.channels_last), ((2, 3, 2), torch.channels_last_3d)], ids=str)
    def test_weights_take_the_format_of_the_network_around(self, name: str, shape: tuple[int, ...], layout: torch.memory_format) -> None:
        block, inputs = build(name), inputs_of(name, shape)
        network = nn.Sequential(nn.Conv2d(3, 4, 3) if len(shape) == 2 else nn.Conv3d(3, 4, 3), block)
        want, shapes = block(*inputs), {key: tensor.shape for key, tensor in block.state_dict().items()}
        network.to(memory_format=layout)
        assert network[0].get_parameter("weight").is_contiguous(memory_format=layout)
        assert all(tensor.is_contiguous(memory_format=torch.channels_last) for tensor in block.parameters() if tensor.ndim == 4)
        assert {key: tensor.shape for key, tensor in block.state_dict().items()} == shapes
        got = block(*(x.contiguous(memory_format=layout) for x in inputs))
        assert got.is_contiguous(memory_format=layout)
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)

    def test_any_strides(self, name: str) -> None:
        block, inputs = build(name), inputs_of(name, (4, 6))
        strided = [x.transpose(2, 3)[:, :, ::2] for x in inputs]
        torch.testing.assert_close(block(*strided), expected(name, block, strided), rtol=1e-12, atol=1e-12)

    def test_inputs_are_left_alone(self, name: str) -> None:
        block, inputs = build(name), inputs_of(name, (4, 3))
        before = [x.clone() for x in inputs]
        block(*inputs)
        assert all(torch.equal(x, y) for x, y in zip(inputs, before, strict=True))

    def test_deepcopy_is_independent(self, name: str) -> None:
        block, inputs = build(name), inputs_of(name, (4, 3))
        twin = copy.deepcopy(block)
        want = twin(*inputs)
        for parameter in block.parameters():
            nn.init.zeros_(parameter)
        assert torch.equal(copy.deepcopy(twin)(*inputs), want)

    def test_state_dict_round_trip(self, name: str) -> None:
        block, inputs = build(name).eval(), inputs_of(name, (4, 3))
        buffer = io.BytesIO()
        torch.save(block.state_dict(), buffer)
        buffer.seek(0)
        other = build_block(*CASES[name]).double().eval()
        other.load_state_dict(torch.load(buffer, weights_only=True))
        assert torch.equal(other(*inputs), block(*inputs))

    def test_drawn_gates_start_around_their_middle(self, name: str) -> None:
        torch.manual_seed(0)
        block = build_block(*CASES[name])
        assert all((p == 0).all() for key, p in block.named_parameters() if key.endswith("bias"))
        drawn = copy.deepcopy(block.state_dict())
        block.reset_parameters()
        assert block.state_dict().keys() == drawn.keys()
        assert any(not torch.equal(block.state_dict()[key], drawn[key]) for key in drawn)

    def test_repr_names_every_option(self, name: str) -> None:
        spec, channels = CASES[name]
        text = repr(build_block(spec, channels))
        for option in {"squeeze", "gate", "combine", "variant", "bias", "hidden"} & spec.options.keys():
            assert f"{option}={spec.options[option]!r}" in text
        if "fold" in spec.options:
            assert f"columns={numpy_form(name).keywords['columns']}" in text
        assert str(channels) in text

    def test_meta_device_gives_shapes(self, name: str) -> None:
        block, inputs = build(name).to("meta"), [x.to("meta") for x in inputs_of(name, (4, 3))]
        block.reset_parameters()
        assert block(*inputs).shape == inputs[0].shape

    def test_wrong_channels_are_refused(self, name: str) -> None:
        spec, channels = CASES[name]
        block = build(name)
        for shape in ((2, channels + 1, 3, 3), (channels,)):
            inputs = [torch.zeros(shape, dtype=torch.float64)] * (2 if block_class(spec.kind).sees_shortcut else 1)
            with pytest.raises(UsageError, match=f"recalibrates {channels} channels"):
                block(*inputs)


@pytest.mark.parametrize("name", DISTINCT)
@pytest.mark.parametrize("mode", [True, False], ids=["train", "eval"])
def test_compiles_without_graph_breaks(name: str, mode: bool) -> None:
    torch.compiler.reset()
    block, inputs = build(name).train(mode), [x.requires_grad_() for x in inputs_of(name, (4, 3))]
    compiled = torch.compile(copy.deepcopy(block), backend="aot_eager", fullgraph=True)
    got, want = compiled(*inputs), block(*inputs)
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
    wants = torch.autograd.grad(want.square().sum(), inputs)
    for x, y in zip(torch.autograd.grad(got.square().sum(), inputs), wants, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", DISTINCT)
def test_exports_with_any_batch_and_size(name: str) -> None:
    block, inputs = build(name).eval(), inputs_of(name, (4, 3))
    dynamic = {0: torch.export.Dim("batch"), 2: torch.export.Dim("height")}
    program = torch.export.export(block, tuple(inputs), dynamic_shapes=tuple(dynamic for _ in inputs))
    others = inputs_of(name, (7, 3), batch=5)
    torch.testing.assert_close(program.module()(*others), block(*others), rtol=1e-12, atol=1e-12)


def test_half_weights_compile() -> None:
    block, inputs = build("cmpe_se pair_1x1", torch.bfloat16), inputs_of("cmpe_se pair_1x1", (4, 3), dtype=torch.bfloat16)
    twin = copy.deepcopy(block)
    out = torch.compile(twin, backend="aot_eager", fullgraph=True)(*inputs)
    torch.testing.assert_close(out, block(*inputs))
    torch.testing.assert_close(twin.bn.running_var, block.bn.running_var)


def test_every_kind_is_covered() -> None:
    assert {spec.kind for spec, _ in CASES.values()} == set(KINDS)
