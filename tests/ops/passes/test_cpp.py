"""The C++ passes equal their definition on every shape, layout and type, whatever the number of threads; and how they are built."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from oracles.pairwise import label, pairwise
from oracles.passes import LAYOUTS, compared, random_maps
from oracles.threads import same_bits
from senet import ChannelSE, backend, create_model
from senet.ops.backend import BUILDERS
from senet.ops.passes.protocol import Kernels
from senet.ops.passes.terms import Centred, Coefficients, OutputGradient, Shortcut
from senet.ops.passes.torch import TorchKernels
from senet.ops.tail.call import residual_tail

CHANNELS = (1, 3, 17, 65, 513)
SIZES = ((1, 1), (3, 5), (9, 11), (37, 23))
LIMITS = {torch.float64: 1e-13, torch.float32: 2e-6, torch.bfloat16: 4e-3, torch.float16: 1e-3}
"""Type of the maps -> largest error of a result, relative to its norm: rounding of sums, or of the maps that are written."""


@pytest.fixture
def passes() -> Kernels:
    kernels, reason = BUILDERS["cpp"]("cpu")
    if kernels is None:
        pytest.skip(f"the C++ operators cannot run here: {reason}")
    return kernels


def results(kernels: Kernels, x: Tensor, dy: Tensor, y: Tensor, r: Tensor) -> Iterator[tuple[str, Tensor | None]]:
    """Give what each pass returns, with every combination of what may be absent."""
    wide = torch.promote_types(x.dtype, torch.float32)
    generator = torch.Generator().manual_seed(1)
    n, c = x.shape[:2]
    k, t = (torch.randn(n, c, dtype=torch.float64, generator=generator).to(wide) for _ in range(2))
    b, r_scale, r_shift = (torch.randn(c, dtype=torch.float64, generator=generator).to(wide) for _ in range(3))
    for centred in (True, False):
        yield from zip((f"p {centred}", f"m2 {centred}"), kernels.moments(x, centred), strict=True)
    for relu in (True, False):
        for name, shortcut in {"none": None, "identity": Shortcut(r), "projection": Shortcut(r, r_scale, r_shift)}.items():
            yield f"apply {name} {relu}", kernels.apply(x, k, t, shortcut, relu)[0]
    for mask, store, projected in product((y, None), (True, False), (True, False)):
        given = f"{mask is not None} {store} {projected}"
        sums = kernels.reduce(OutputGradient(dy, mask), Centred(x, b), Centred(r, r_shift) if projected else None, store)
        yield from ((f"{key} {given}", value) for key, value in vars(sums).items())
    for mask, by_x in product((y, None), (b, None)):
        yield f"spread {mask is not None} {by_x is not None}", kernels.spread(OutputGradient(dy, mask), x, Coefficients(k, by_x, t))


@pytest.mark.parametrize("case", pairwise({"channels": CHANNELS, "dtype": [*LIMITS], "layout": [*LAYOUTS]}), ids=label)
def test_equal_the_definition_in_float64(passes: Kernels, case: dict[str, Any]) -> None:
    channels, dtype, layout = case["channels"], case["dtype"], case["layout"]
    torch.manual_seed(0)
    for images, size in product((1, 3), SIZES):
        given = random_maps((images, channels, *size), dtype, layout)
        want = dict(results(TorchKernels(), *(v.double() for v in given)))
        for value, _ in compared(results(passes, *given), want, LIMITS[dtype], images * channels):
            if value.ndim == 4:
                assert value.dtype == dtype
                assert value.is_contiguous(memory_format=LAYOUTS[layout])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pieces_of_a_large_image_are_combined(passes: Kernels, layout: str) -> None:
    torch.manual_seed(0)
    given = random_maps((1, 5, 181, 179), torch.float64, layout)  # several pieces in either layout, of unequal size
    want = dict(results(TorchKernels(), *given))
    for key, value in results(passes, *given):
        torch.testing.assert_close(value, want[key], rtol=1e-11, atol=1e-10, msg=key)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("mean", [10, 1e3])
def test_a_large_mean_does_not_cancel(passes: Kernels, layout: str, mean: float) -> None:
    torch.manual_seed(0)
    x = (torch.randn(2, 65, 56, 56) + mean).to(memory_format=LAYOUTS[layout])
    exact = TorchKernels().moments(x.double(), True)
    p, m2 = passes.moments(x, True)
    assert float((p / exact[0] - 1).abs().max()) < 1e-6
    assert float((m2 / exact[1] - 1).abs().max()) < 5e-6


@pytest.mark.parametrize("layout", LAYOUTS)
def test_threads_change_no_bit(passes: Kernels, layout: str) -> None:
    torch.manual_seed(0)
    small, large = random_maps((5, 65, 33, 31), torch.float32, layout), random_maps((1, 24, 181, 179), torch.float32, layout)
    assert same_bits(lambda: [value for given in (small, large) for _, value in results(passes, *given) if value is not None])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nan_is_passed_on(passes: Kernels, layout: str) -> None:
    x = torch.ones(1, 20, 3, 3).to(memory_format=LAYOUTS[layout])
    x[0, 1, 1, 1] = float("nan")
    y = passes.apply(x, torch.ones(1, 20), torch.zeros(1, 20), None, True)[0]
    assert torch.equal(y.isnan(), x.isnan())
    assert torch.equal(passes.moments(x, True)[0].isnan(), torch.arange(20)[None] == 1)


def saved_bytes(name: str) -> int:
    """Return the bytes that a training pass keeps beside parameters and buffers."""
    model = create_model(name).train()
    kept = {tensor.untyped_storage().data_ptr() for tensor in model.state_dict().values()}
    alive: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in kept:
            alive[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(torch.randn(4, 3, 32, 32))
    return sum(tensor.untyped_storage().nbytes() for tensor in alive.values())


@pytest.mark.parametrize("name", ["cifar_resnet20", "cifar_resnet56"])
def test_a_network_keeps_no_more_with_se_than_without(passes: Kernels, name: str) -> None:
    plain = {}
    for which in ("reference", "cpp"):
        with backend(which):
            plain[which] = saved_bytes(name)
            recalibrated = saved_bytes(f"se_{name}")
    assert recalibrated <= 1.01 * plain["cpp"]
    assert plain["cpp"] <= 1.01 * plain["reference"]


def test_maps_that_are_not_dense(passes: Kernels) -> None:
    torch.manual_seed(0)
    wide = torch.randn(2, 12, 9, 14, dtype=torch.float64)
    results_of = []
    for which in ("reference", "cpp"):
        block = ChannelSE(6, 2).double()
        torch.nn.init.constant_(block.fc1.weight, 0.1)
        torch.nn.init.constant_(block.fc2.weight, 0.2)
        x = wide.clone().requires_grad_()
        with backend(which):
            y = residual_tail(x[:, ::2, :, 1::2], x[:, 1::2, :, ::2], norm=torch.nn.BatchNorm2d(6).double(), recalibrate=block)
        (gradient,) = torch.autograd.grad(y, x, torch.ones(1, 1, 1, 1, dtype=torch.float64).expand_as(y))
        results_of.append((y, gradient))
    for want, got in zip(*results_of, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-11, atol=1e-12)


def test_operators_keep_the_rules_of_torch(passes: Kernels) -> None:
    x, dy, y, r = random_maps((2, 6, 5, 4), torch.float32, "NHWC")
    k, b = torch.randn(2, 6), torch.randn(6)
    operators = torch.ops.senet_cpp
    for operator, arguments in (
        (operators.moments, (x, True)),
        (operators.apply, (x, k, k, r, b, b, True)),
        (operators.reduce, (dy, y, x, b, r, b, True)),
        (operators.spread, (dy, y, x, k, b, k)),
    ):
        torch.library.opcheck(operator.default, arguments, test_utils=("test_schema", "test_faketensor"))


def test_wrong_shapes_are_refused(passes: Kernels) -> None:
    x = torch.randn(2, 6, 5, 4)
    with pytest.raises(RuntimeError, match="not empty"):
        passes.moments(x[:0], True)
    with pytest.raises(RuntimeError, match="one shape and type"):
        passes.spread(OutputGradient(x.double()), x, Coefficients(torch.ones(2, 6), None, torch.ones(2, 6)))
    with pytest.raises(RuntimeError, match="expected 12 values"):
        passes.spread(OutputGradient(x), x, Coefficients(torch.ones(6), None, torch.ones(2, 6)))


TWO_TAILS = """
import torch
from senet import ChannelSE
from senet.ops.backend import choose
from senet.ops.passes.cpp import build
from senet.ops.tail.call import residual_tail

compilers, Popen = [], build.Popen

def begun(*words, **options):
    compilers.append(Popen(*words, **options))
    return compilers[-1]

build.Popen = begun
x = torch.randn(2, 16, 3, 3)
print(choose(x).name, len(compilers), flush=True)
for _ in range(2):
    residual_tail(x, x, norm=torch.nn.BatchNorm2d(16), recalibrate=ChannelSE(16))
"""


def in_a_new_process(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", TWO_TAILS], env=os.environ | environment, capture_output=True, text=True, check=False)


def test_without_a_compiler_the_definition_runs_and_says_so_once(tmp_path: Path) -> None:
    done = in_a_new_process(PATH=str(tmp_path), TORCH_EXTENSIONS_DIR=str(tmp_path))
    assert (done.returncode, done.stdout) == (0, "reference 0\n"), done.stderr
    assert done.stderr.count("RuntimeWarning") == 1
    assert "senet computes without its cpp operators: c++ is not found (a C++ compiler, such as g++)" in done.stderr


def test_a_failed_build_names_the_first_error(passes: Kernels, tmp_path: Path) -> None:
    compiler = tmp_path / "c++"
    answers = f'case "$1" in -*version) exec {shutil.which("c++")} "$@";; esac'
    compiler.write_text(f"#!/bin/sh\n{answers}\necho 'tail.cpp:1:1: error: out of order' >&2\nexit 1\n")
    compiler.chmod(0o755)
    done = in_a_new_process(PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}", TORCH_EXTENSIONS_DIR=str(tmp_path), CXX="c++")
    assert done.stdout == "reference 1\n", done.stderr
    assert "RuntimeWarning: senet computes without its cpp operators: tail.cpp:1:1: error: out of order" in done.stderr


def test_what_was_built_is_loaded_at_once(passes: Kernels) -> None:
    done = in_a_new_process()
    assert (done.returncode, done.stdout) == (0, "cpp 0\n"), done.stderr
    assert "RuntimeWarning" not in done.stderr
