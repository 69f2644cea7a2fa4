"""The Triton kernels agree with the definition: in Triton's interpreter, compiled for sm_90 without a device, and on one."""

import os
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from oracles import ahead_of_time, tail_passes
from oracles.passes import LAYOUTS
from oracles.tail_passes import LIMITS, MAPS, ORDERS, Case, check
from senet import backend
from senet.errors import UsageError
from senet.ops.backend import choose
from senet.ops.passes.terms import Centred, Coefficients, OutputGradient, Shortcut
from senet.ops.passes.torch import TorchKernels
from senet.ops.passes.triton.mask import empty_mask
from senet.ops.tail.call import residual_tail

pytest.importorskip("triton")

FORMS = [  # norm, the shortcut's norm, gate, ReLU
    Case("batch", None, "sigmoid", True),
    Case("batch", "batch", "sigmoid", True),
    Case("running", "running", "sigmoid", True),
    Case("batch", "running", "hard_sigmoid", False),
    Case("batch", "batch", None, True),
    Case("batch", None, None, True, shortcut=False),
    Case(None, None, "tanh", False),
]
SHAPES = [(1, 9, 7, 3), (3, 5, 1, 1), (1, 1, 5, 5), (2, 33, 3, 5)]

Interpret = Callable[..., Any]


def name(case: Case) -> str:
    return f"{case.norm}-{case.r_norm if case.shortcut else 'alone'}-{case.gate}-{'relu' if case.relu else 'sum'}"


class TestInterpreted:
    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("form", FORMS, ids=name)
    def test_equals_the_definition(self, interpret: Interpret, form: Case, layout: str) -> None:
        case = replace(form, layout=layout)
        check(case, interpret(tail_passes.errors, case))

    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("shape", SHAPES, ids=str)
    def test_shapes(self, interpret: Interpret, shape: tuple[int, int, int, int], layout: str) -> None:
        case = replace(FORMS[1], shape=shape, layout=layout, tiling=None if shape[1] > 32 else tail_passes.SMALL)
        check(case, interpret(tail_passes.errors, case))

    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
    def test_types(self, interpret: Interpret, dtype: torch.dtype, layout: str) -> None:
        case = replace(FORMS[1], dtype=dtype, layout=layout)
        check(case, interpret(tail_passes.errors, case))

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_each_pass(self, interpret: Interpret, layout: str) -> None:
        assert interpret(tail_passes.single_passes, replace(FORMS[0], layout=layout)) < 1e-12

    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("shape", [(2, 9, 5, 7), (1, 33, 3, 3), (2, 16, 4, 4), (2, 1, 3, 3)], ids=str)
    def test_masks(self, interpret: Interpret, shape: tuple[int, int, int, int], layout: str) -> None:
        case = replace(FORMS[0], shape=shape, dtype=torch.float16, layout="NCHW" if shape[1] == 1 else layout)
        assert interpret(tail_passes.mask_is_where_the_output_is_positive, case)

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_rescales_in_place(self, interpret: Interpret, layout: str) -> None:
        assert interpret(tail_passes.rescales_in_place, replace(FORMS[0], layout=layout)) < 1e-12

    def test_repeats_bit_by_bit(self, interpret: Interpret) -> None:
        assert interpret(tail_passes.repeats, replace(FORMS[1], dtype=torch.float32))

    @pytest.mark.parametrize("ratio", [10.0, 100.0, 1000.0])
    def test_variance_far_from_zero(self, interpret: Interpret, ratio: float) -> None:
        case = replace(FORMS[0], dtype=torch.float32, shape=(2, 5, 15, 15))
        assert interpret(tail_passes.spread_of_far_values, case, ratio) < 1e-5

    def test_not_a_number_passes(self, interpret: Interpret) -> None:
        assert interpret(tail_passes.not_a_number_passes)

    def test_one_graph(self, interpret: Interpret) -> None:
        assert interpret(tail_passes.compiled_whole, "aot_eager")

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_keeps_the_rules_for_operators(self, interpret: Interpret, layout: str) -> None:
        interpret(tail_passes.keep_the_rules_for_operators, layout)

    def test_backend(self, interpret: Interpret) -> None:
        chosen, errors = interpret(tail_passes.by_its_name)
        assert chosen == "triton"
        assert max(errors.values()) < 1e-12, errors


def launch_all(shape: tuple[int, ...], layout: str, dtype: torch.dtype) -> None:
    """Launch every variant that tails launch on maps of a shape."""
    passes = tail_passes.kernels(None)
    x = torch.empty(shape, dtype=dtype, memory_format=LAYOUTS[layout])
    of_map = torch.empty(shape[:2], dtype=torch.promote_types(dtype, torch.float32))
    of_channel = of_map[0]
    for centred in (True, False):
        passes.moments(x, centred)
    for relu in (True, False):
        for shortcut in (None, Shortcut(x), Shortcut(x, of_channel, of_channel)):
            passes.apply(x, of_map, of_map, shortcut, relu)
    for gradient in (OutputGradient(x), OutputGradient(x, x), OutputGradient(x, empty_mask(x))):
        for projected in (None, Centred(x, of_channel)):
            passes.reduce(gradient, Centred(x, of_channel), projected, True)
        for by_x in (None, of_channel):
            passes.spread(gradient, x, Coefficients(of_map, by_x, of_map))


ALWAYS = {"moments", "reduce", "affine"}
"""Kernels of every shape; others merge where a reduction is split."""

SPILL = {"NHWC": 0, "NCHW": 16}
"""Bytes of stack that are let pass: contiguous maps are read element by element, with an address each, where S is odd."""


class TestCompiled:
    def test_nothing_spills(self, compiled: list[tuple[str, Any]], tmp_path: Path) -> None:
        self.check_spills((2, 256, 56, 56), "NHWC", torch.bfloat16, compiled, tmp_path)

    @pytest.mark.slow
    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
    def test_nothing_spills_in(self, compiled: list[tuple[str, Any]], tmp_path: Path, dtype: torch.dtype, layout: str) -> None:
        for shape in ((2, 256, 56, 56), (2, 512, 14, 14), (2, 512, 7, 7)):
            self.check_spills(shape, layout, dtype, compiled, tmp_path)

    def check_spills(self, shape: tuple, layout: str, dtype: torch.dtype, compiled: list[tuple[str, Any]], folder: Path) -> None:
        compiled.clear()
        launch_all(shape, layout, dtype)
        assert {kernel_name for kernel_name, _ in compiled} >= ALWAYS
        assert not ahead_of_time.spilt(compiled, folder, SPILL[layout]), shape

    @pytest.mark.slow
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_shapes_that_fit_no_tile(self, compiled: list[tuple[str, Any]], layout: str) -> None:
        for shape, dtype in (((1, 33, 9, 11), torch.float32), ((3, 1, 1, 1), torch.bfloat16), ((2, 5, 3, 1), torch.float64)):
            launch_all(shape, layout, dtype)
        assert all(kernel.asm["cubin"] for _, kernel in compiled)

    def test_channels_last_moves_128_bits(self, compiled: list[tuple[str, Any]]) -> None:
        case = Case("batch", None, "sigmoid", True, shape=(256, 256, 56, 56), dtype=torch.bfloat16)
        passes = tail_passes.kernels(None)
        x = torch.empty(case.shape, dtype=case.dtype, memory_format=torch.channels_last)
        of_map, of_channel = torch.empty(256, 256), torch.empty(256)
        passes.apply(x, of_map, of_map, Shortcut(x), True)
        for mask in (x, empty_mask(x)):
            passes.reduce(OutputGradient(x, mask), Centred(x, of_channel), None, True)
            passes.spread(OutputGradient(x, mask), x, Coefficients(of_map, None, of_map))
        for _, kernel in compiled:
            moves = re.findall(r"(?:ld|st)\.global\S*", kernel.asm["ptx"])
            assert any(move.startswith("ld.global.v4") for move in moves)
            assert not any(move.endswith("b16") for move in moves), moves
            assert sum(move.endswith("b8") for move in moves) <= 2, moves  # a byte of a mask for the 128 bits of a map


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET", "0") not in ("", "0"), reason="TRITON_INTERPRET is set")
class TestOnDevice:
    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("dtype", LIMITS, ids=str)
    @pytest.mark.parametrize("form", FORMS, ids=name)
    def test_equals_the_definition(self, form: Case, dtype: torch.dtype, layout: str) -> None:
        for shape in (*SHAPES, (2, 9, 5, 7), (4, 256, 56, 56), (4, 2048, 7, 7)):
            case = replace(tail_passes.on(form, "cuda"), shape=shape, dtype=dtype, layout=layout)
            check(case, tail_passes.errors(case), partial(tail_passes.errors, case))

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_repeats_bit_by_bit(self, layout: str) -> None:
        assert tail_passes.repeats(replace(tail_passes.on(FORMS[1], "cuda"), shape=(8, 96, 57, 57), dtype=torch.bfloat16, layout=layout))

    @pytest.mark.parametrize("ratio", [10.0, 100.0, 1000.0])
    def test_variance_far_from_zero(self, ratio: float) -> None:
        case = replace(tail_passes.on(FORMS[0], "cuda"), shape=(4, 64, 56, 56), dtype=torch.float32)
        assert tail_passes.spread_of_far_values(case, ratio) < 1e-5

    def test_step_in_a_graph(self) -> None:
        assert tail_passes.step_in_a_graph(replace(tail_passes.on(FORMS[1], "cuda"), shape=(8, 64, 14, 14), dtype=torch.bfloat16))

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_more_elements_than_32_bits_count(self, layout: str) -> None:
        if torch.cuda.mem_get_info()[0] < 24 * 2**30:
            pytest.skip("less than 24 GiB of the device's memory are free")
        case = replace(tail_passes.on(FORMS[0], "cuda"), shape=(2676, 256, 56, 56), dtype=torch.bfloat16, layout=layout)
        found, own = tail_passes.beyond_32_bits(case)
        check(case, found, lambda passes, order: own)

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what torch's compiler imports and calls itself
    @pytest.mark.filterwarnings("ignore::FutureWarning")
    @pytest.mark.filterwarnings("ignore:TensorFloat32 tensor cores:UserWarning")
    @pytest.mark.filterwarnings("ignore:Please use the new API settings to control TF32:UserWarning")
    def test_one_graph(self) -> None:
        assert tail_passes.compiled_whole("inductor", "cuda")

    def test_backend(self) -> None:
        chosen, errors = tail_passes.by_its_name("cuda")
        assert chosen == "triton" == choose(torch.empty(1, device="cuda")).name
        assert max(errors.values()) < 1e-12, errors


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_long_sums_may_err_as_the_definition_does_and_no_more(dtype: torch.dtype) -> None:
    case = replace(FORMS[1], shape=(4, 2048, 7, 7), dtype=dtype, tiling=None)
    other = tail_passes.errors(case, TorchKernels(), ORDERS)
    check(case, other, partial(tail_passes.errors, case))
    for key, error in other.items():
        with pytest.raises(AssertionError, match=f"'{key}'"):
            check(case, {**other, key: 10 * error + 2e-4 + LIMITS[dtype][0] * (key in MAPS)}, partial(tail_passes.errors, case))


def test_it_says_why_it_does_not_run() -> None:
    x = torch.randn(2, 8, 3, 3)
    with backend("triton"), pytest.raises(UsageError, match=r"it takes maps on a CUDA device, these are on cpu; use senet\.backend"):
        residual_tail(x, x, norm=torch.nn.BatchNorm2d(8))
