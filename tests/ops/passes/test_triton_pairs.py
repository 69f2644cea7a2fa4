"""The Triton kernels of pre-activation tails agree with the definition: interpreted, compiled for sm_90 without a device, and on one."""

import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from oracles import ahead_of_time, pair_passes, tail_passes
from oracles.passes import LAYOUTS
from oracles.tail_passes import LIMITS, Case
from senet.ops.passes.terms import PairCoefficients, PairGradient

pytest.importorskip("triton")

FORMS = [  # norm, none of a shortcut, gate, ReLU
    Case("batch", None, "sigmoid", True),
    Case("running", None, "hard_sigmoid", True),
    Case("batch", None, None, True),
    Case("running", None, None, True),
]
SHAPES = [(1, 9, 7, 3), (3, 5, 1, 1), (2, 33, 3, 5), (17, 3, 5, 5)]

Interpret = Callable[..., Any]


def name(case: Case) -> str:
    return f"{case.norm}-{case.gate}"


def check(case: Case, found: dict[str, float]) -> None:
    """Raise AssertionError unless the errors of what a case computes are within the limits of its type.

    v is rounded before it is normalised, so a has two roundings, and what is summed of v that of v.
    """
    of_map, _ = LIMITS[case.dtype]
    beyond = {key: error for key, error in found.items() if not error <= (2 * of_map if key == "a" else of_map)}
    assert not beyond, (case, beyond)


class TestInterpreted:
    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("form", FORMS, ids=name)
    def test_equals_the_definition(self, interpret: Interpret, form: Case, layout: str) -> None:
        case = replace(form, layout=layout)
        for with_dv in (True, False):
            check(case, interpret(pair_passes.errors, case, with_dv))

    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("shape", SHAPES, ids=str)
    def test_shapes(self, interpret: Interpret, shape: tuple[int, int, int, int], layout: str) -> None:
        for form in (FORMS[0], FORMS[2]):
            case = replace(form, shape=shape, layout=layout, tiling=None if shape[1] > 32 else tail_passes.SMALL)
            check(case, interpret(pair_passes.errors, case))

    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
    def test_types(self, interpret: Interpret, dtype: torch.dtype, layout: str) -> None:
        for form in (FORMS[0], FORMS[2]):
            case = replace(form, dtype=dtype, layout=layout)
            check(case, interpret(pair_passes.errors, case))

    @pytest.mark.parametrize("form", [FORMS[0], FORMS[2]], ids=name)
    def test_few_launches(self, interpret: Interpret, form: Case) -> None:
        forward, backward = interpret(pair_passes.launches, form)
        gated = form.gate is not None
        assert len(forward) == 3 + gated, forward
        assert len(backward) == 3 + 2 * gated, backward

    @pytest.mark.parametrize(("network", "of_a_unit"), [("preresnet20", 6), ("se_preresnet20", 9)])
    def test_launches_of_a_step(self, interpret: Interpret, network: str, of_a_unit: int) -> None:
        names = interpret(pair_passes.launches_of_a_step, network)
        units, norms = 9, 9 + 1  # of each unit the inner BN and ReLU, and those before the first unit: 3 launches forward and 3 backward
        assert len(names) == units * of_a_unit + norms * 6, names

    @pytest.mark.parametrize("form", FORMS, ids=name)
    def test_composed_of_passes(self, interpret: Interpret, form: Case) -> None:
        check(form, interpret(pair_passes.by_their_passes, form))

    @pytest.mark.parametrize(("hidden", "gate", "gain"), [(1, "tanh", 1.0), (20, "relu", 2.0), (40, "hard_sigmoid", 2.0)])
    def test_gates(self, interpret: Interpret, hidden: int, gate: str, gain: float) -> None:
        case = replace(FORMS[0], shape=(17, 18, 2, 3), hidden=hidden, gate=gate, gain=gain)
        check(case, interpret(pair_passes.errors, case))

    def test_channels_of_several_programs(self, interpret: Interpret) -> None:
        case = replace(FORMS[0], shape=(2, 150, 2, 2), hidden=10, layout="NCHW")
        check(case, interpret(pair_passes.errors, case))

    def test_modules(self, interpret: Interpret) -> None:
        assert interpret(pair_passes.modules_by_name) < 5e-6

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_masks(self, interpret: Interpret, layout: str) -> None:
        assert interpret(pair_passes.mask_is_where_the_output_is_positive, replace(FORMS[0], dtype=torch.float16, layout=layout))

    def test_repeats_bit_by_bit(self, interpret: Interpret) -> None:
        assert interpret(pair_passes.repeats, replace(FORMS[0], dtype=torch.float32))

    @pytest.mark.parametrize("ratio", [10.0, 100.0, 1000.0])
    def test_variance_far_from_zero(self, interpret: Interpret, ratio: float) -> None:
        case = replace(FORMS[0], dtype=torch.float32, shape=(2, 5, 15, 15))
        assert interpret(pair_passes.spread_of_far_values, case, ratio) < 1e-5


def launch_all(shape: tuple[int, ...], layout: str, dtype: torch.dtype) -> None:
    """Launch every variant that tails launch on maps of a shape."""
    passes = tail_passes.kernels(None)
    x = torch.empty(shape, dtype=dtype, memory_format=LAYOUTS[layout])
    of_map = torch.empty(shape[:2], dtype=torch.promote_types(dtype, torch.float32))
    of_channel = of_map[0]
    passes.pair_moments(x, x)
    passes.apply_pair(x, x, of_map, of_channel, of_channel)
    passes.activate(x, of_channel, of_channel)
    passes.apply_pair(x, x, None, of_channel, of_channel)
    passes.add_pair(x, x)
    for dv in (x, None):
        gradient = PairGradient(x, x, x, dv, of_channel, of_channel)
        for u in (x, None):
            passes.reduce_pair(gradient, of_channel, u)
        for gates in (of_map, None):
            for by_v in (of_channel, None):
                passes.spread_pair(gradient, PairCoefficients(of_channel, by_v, of_channel, gates, gates))


SPILL = {"NHWC": 0, "NCHW": 16}
"""Bytes of stack that are let pass, as in `test_triton`."""


class TestCompiled:
    @pytest.mark.parametrize("form", [FORMS[0], FORMS[2]], ids=name)
    def test_vectors_do_not_spill(self, form: Case, compiled: list[tuple[str, Any]], tmp_path: Path) -> None:
        for channels, side in ((16, 32), (64, 8), (512, 8)):
            case = replace(form, shape=(128, channels, side, side), dtype=torch.bfloat16, tiling=None, hidden=max(1, channels // 16))
            pair, passes = pair_passes.preactivated(tail_passes.lively(case)), tail_passes.kernels(None)
            x = torch.empty(case.shape, dtype=case.dtype, memory_format=torch.channels_last)
            pair.backward(passes, x, x, pair.forward(passes, x, x).saved)
        assert len(compiled) == 3 * (9 if form.gate else 6)
        assert not ahead_of_time.spilt(compiled, tmp_path, 16)  # vectors, as in `test_triton_channel_tail`

    def test_nothing_spills(self, compiled: list[tuple[str, Any]], tmp_path: Path) -> None:
        self.check_spills((128, 16, 32, 32), "NHWC", torch.bfloat16, compiled, tmp_path)

    @pytest.mark.slow
    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
    def test_nothing_spills_in(self, compiled: list[tuple[str, Any]], tmp_path: Path, dtype: torch.dtype, layout: str) -> None:
        for shape in ((128, 32, 16, 16), (128, 64, 8, 8), (16, 512, 8, 8)):
            self.check_spills(shape, layout, dtype, compiled, tmp_path)

    def check_spills(self, shape: tuple, layout: str, dtype: torch.dtype, compiled: list[tuple[str, Any]], folder: Path) -> None:
        compiled.clear()
        launch_all(shape, layout, dtype)
        assert {kernel_name for kernel_name, _ in compiled} >= {"pair_moments", "apply_pair", "add_pair", "reduce_pair", "spread_pair"}
        assert not ahead_of_time.spilt(compiled, folder, SPILL[layout]), shape

    def test_channels_last_moves_128_bits(self, compiled: list[tuple[str, Any]]) -> None:
        launch_all((128, 128, 32, 32), "NHWC", torch.bfloat16)
        for kernel_name, kernel in compiled:
            if kernel_name == "merge_sums" or kernel_name == "merge_moments":
                continue
            moves = re.findall(r"(?:ld|st)\.global\S*", kernel.asm["ptx"])
            assert any(move.startswith("ld.global.v4") for move in moves), kernel_name
            assert not any(move.endswith(("b16", "b8")) for move in moves), (kernel_name, moves)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET", "0") not in ("", "0"), reason="TRITON_INTERPRET is set")
class TestOnDevice:
    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("dtype", LIMITS, ids=str)
    @pytest.mark.parametrize("form", FORMS, ids=name)
    def test_equals_the_definition(self, form: Case, dtype: torch.dtype, layout: str) -> None:
        for shape in (*SHAPES, (128, 16, 32, 32), (128, 64, 8, 8), (8, 512, 8, 8)):
            case = replace(tail_passes.on(form, "cuda"), shape=shape, dtype=dtype, layout=layout)
            check(case, pair_passes.errors(case))

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_repeats_bit_by_bit(self, layout: str) -> None:
        assert pair_passes.repeats(replace(tail_passes.on(FORMS[0], "cuda"), shape=(8, 96, 33, 33), dtype=torch.bfloat16, layout=layout))

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_masks(self, layout: str) -> None:
        assert pair_passes.mask_is_where_the_output_is_positive(
            replace(tail_passes.on(FORMS[0], "cuda"), dtype=torch.float16, layout=layout)
        )

    def test_modules(self) -> None:
        assert pair_passes.modules_by_name("cuda") < 1e-5

    @pytest.mark.parametrize("form", [FORMS[0], FORMS[2]], ids=name)
    def test_step_in_a_graph(self, form: Case) -> None:
        assert pair_passes.step_in_a_graph(replace(tail_passes.on(form, "cuda"), shape=(8, 64, 14, 14), dtype=torch.bfloat16))
