"""Channel tails in Triton kernels alone agree with the definition, in few launches: interpreted, and compiled for sm_90."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from oracles import ahead_of_time, channel_tails, tail_passes
from oracles.passes import LAYOUTS
from oracles.tail_passes import LIMITS, Case, check
from senet.ops.passes.triton.vector_grid import is_taken, vector_grid
from senet.ops.tail.rows import Saved

pytest.importorskip("triton")

SE = Case("batch", None, "sigmoid", True)
PROJECTED = Case("batch", "batch", "sigmoid", True)
PLAIN = Case("batch", None, None, True)
ACTIVATED = replace(PLAIN, shortcut=False)

Interpret = Callable[..., Any]


class TestInterpreted:
    @pytest.mark.parametrize("shape", [(1, 17, 3, 5), (17, 18, 1, 1), (33, 3, 1, 1), (1, 1, 9, 7)], ids=str)
    @pytest.mark.parametrize("hidden", [1, 20, 130])
    def test_sizes(self, interpret: Interpret, shape: tuple[int, int, int, int], hidden: int) -> None:
        case = replace(PROJECTED, shape=shape, hidden=hidden)
        check(case, interpret(tail_passes.errors, case))

    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize(
        "form", [PLAIN, replace(PLAIN, r_norm="batch"), replace(PLAIN, norm="running"), replace(PLAIN, shortcut=False)]
    )
    def test_without_gates(self, interpret: Interpret, form: Case, layout: str) -> None:
        case = replace(form, layout=layout)
        check(case, interpret(tail_passes.errors, case))

    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("norm", ["batch", "running"])
    @pytest.mark.parametrize("shape", [(1, 9, 7, 3), (3, 5, 1, 1), (1, 1, 5, 5), (2, 33, 3, 5)], ids=str)
    def test_norm_and_relu_alone(self, interpret: Interpret, shape: tuple[int, int, int, int], norm: str, layout: str) -> None:
        case = replace(ACTIVATED, norm=norm, shape=shape, layout=layout, tiling=None if shape[1] > 32 else tail_passes.SMALL)
        check(case, interpret(tail_passes.errors, case))

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
    def test_types_of_norm_and_relu_alone(self, interpret: Interpret, dtype: torch.dtype) -> None:
        case = replace(ACTIVATED, dtype=dtype)
        check(case, interpret(tail_passes.errors, case))

    @pytest.mark.parametrize("form", [SE, replace(SE, norm=None, relu=False)])
    def test_without_a_shortcut(self, interpret: Interpret, form: Case) -> None:
        case = replace(form, shortcut=False)
        check(case, interpret(tail_passes.errors, case))

    @pytest.mark.parametrize("gate", ["sigmoid", "tanh", "relu", "hard_sigmoid"])
    def test_gates(self, interpret: Interpret, gate: str) -> None:
        case = replace(SE, gate=gate, gain=2.0)
        check(case, interpret(tail_passes.errors, case))

    @pytest.mark.parametrize("weights", [torch.bfloat16, torch.float16, torch.float64], ids=str)
    def test_types_of_parameters(self, interpret: Interpret, weights: torch.dtype) -> None:
        case = replace(PROJECTED, dtype=torch.float32, weights=weights)
        found = interpret(tail_passes.errors, case)
        rounded = LIMITS[weights][0] if weights.itemsize < 4 else 0.0
        check(case, {key: error for key, error in found.items() if error > rounded or not key.startswith("d")})

    @pytest.mark.parametrize(
        "form", [SE, PROJECTED, PLAIN, replace(PLAIN, r_norm="batch")], ids=["se", "projected", "plain", "plain-projected"]
    )
    def test_few_launches(self, interpret: Interpret, form: Case) -> None:
        forward, backward = interpret(channel_tails.launches, form)
        gated = form.gate is not None
        assert len(forward) == 3 + gated, forward
        assert len(backward) == 3 + 2 * gated, backward

    @pytest.mark.parametrize(("dtype", "momentum"), [(torch.float32, 0.1), (torch.float32, None), (torch.float64, 0.1)], ids=str)
    def test_running_averages(self, interpret: Interpret, dtype: torch.dtype, momentum: float | None) -> None:
        error, said = interpret(channel_tails.averages_after_two_steps, dtype, momentum)
        assert said
        assert error < LIMITS[dtype][1] / 3

    def test_repeats_bit_by_bit(self, interpret: Interpret) -> None:
        assert interpret(tail_passes.repeats, replace(PROJECTED, dtype=torch.float32, shape=(5, 17, 2, 1), hidden=40))


def test_what_is_too_large_is_left_to_the_definition() -> None:
    assert is_taken(4096, 2048, 128)
    assert not is_taken(1, 4097, 1)
    assert not is_taken(1, 64, 1025)
    assert not is_taken(2**25, 64, 4)


@pytest.mark.parametrize("channels", [1, 16, 17, 512, 513, 2048, 4096])
def test_blocks_are_few(channels: int) -> None:
    grid = vector_grid(256, channels, 1, 16)
    assert grid.blocks <= 32
    assert grid.blocks * grid.block >= channels


def compile_tail(case: Case) -> None:
    """Launch what a tail launches."""
    tail, passes = tail_passes.lively(case), tail_passes.kernels(None)
    _, c, h, w = case.shape
    x = torch.empty_strided(case.shape, (c * h * w, 1, w * c, c) if case.layout == "NHWC" else (c * h * w, h * w, w, 1), dtype=case.dtype)
    output = tail.forward(passes, x, x)
    tail.backward(passes, x, Saved.of(output.saved.row(), has_shortcut=True))


SPILL = 16
"""Bytes of stack that are let pass: ptxas rather has two programs on a multiprocessor, of 64 registers a thread, than 66 registers."""


class TestCompiled:
    def test_nothing_spills(self, compiled: list[tuple[str, Any]], tmp_path: Path) -> None:
        compile_tail(replace(PROJECTED, shape=(32, 512, 28, 28), dtype=torch.bfloat16, hidden=32))
        assert len(compiled) == 4 + 5
        assert not ahead_of_time.spilt(compiled, tmp_path, SPILL)

    @pytest.mark.slow
    @pytest.mark.parametrize("form", [SE, PROJECTED, replace(PLAIN, r_norm="batch")], ids=["se", "projected", "plain"])
    @pytest.mark.parametrize("size", [(256, 56), (512, 28), (1024, 14), (2048, 7)], ids=str)
    def test_nothing_spills_in(self, compiled: list[tuple[str, Any]], tmp_path: Path, form: Case, size: tuple[int, int]) -> None:
        channels, side = size
        compile_tail(replace(form, shape=(256, channels, side, side), dtype=torch.bfloat16, hidden=channels // 16))
        assert not ahead_of_time.spilt(compiled, tmp_path, SPILL)

    @pytest.mark.slow
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
    def test_shapes_that_fit_no_tile(self, compiled: list[tuple[str, Any]], dtype: torch.dtype) -> None:
        for shape, hidden in (((1, 33, 9, 11), 1), ((3, 1, 1, 1), 130), ((40, 700, 3, 1), 44)):
            compile_tail(replace(PROJECTED, shape=shape, dtype=dtype, hidden=hidden, layout="NCHW"))
        assert all(kernel.asm["cubin"] for _, kernel in compiled)
