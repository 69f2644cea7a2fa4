"""Triton without a device: its interpreter, and its compiler for sm_90."""

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from oracles import ahead_of_time


@pytest.fixture(scope="session")
def interpret() -> Iterator[Callable[..., Any]]:
    """Return what calls a function in a process whose triton interprets: a process has one kind of triton."""
    with pytest.MonkeyPatch.context() as patch, ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        patch.setenv("TRITON_INTERPRET", "1")
        pool.submit(torch.set_num_threads, 1).result()
        patch.undo()
        yield lambda function, *arguments: pool.submit(function, *arguments).result()


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, Any]]:
    """Have launches compile for sm_90 and nothing else; return the list to which they add the kernel's name and what came of it."""
    from triton import knobs
    from triton.runtime.driver import driver

    from senet.ops.passes.triton import launch

    if knobs.runtime.interpret:
        pytest.skip("TRITON_INTERPRET is set: nothing can be compiled")
    if not Path(knobs.nvidia.ptxas.path).exists() or not Path(knobs.nvidia.cuobjdump.path).exists():
        pytest.skip("triton's ptxas and cuobjdump are not there: nothing can be compiled for sm_90")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(driver, "_active", ahead_of_time.Hopper())
    made: list[tuple[str, Any]] = []

    def compile_only(kernel: Any, programs: int, arguments: tuple[Any, ...], sizes: dict[str, int]) -> None:
        made.append((kernel.__name__, kernel.warmup(*arguments, grid=(programs,), **sizes, enable_fp_fusion=True)))

    monkeypatch.setattr(launch, "start", compile_only)
    return made
