"""Bound launches start what Triton's own would: the same kernel with the same arguments, on the same stream, heard by the same hooks."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton")

import triton
import triton.language as tl
from benchmarks import stand_in
from triton import knobs

from senet.ops.passes.triton import launch

INTERPRETED = os.environ.get("TRITON_INTERPRET", "0") not in ("", "0")
COUNT = 48


@triton.jit
def add(x, y, out, count, factor, BLOCK: tl.constexpr, SQUARED: tl.constexpr = False):  # noqa: N803
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x + i, mask=i < count, other=0.0)
    if y is not None:
        v += tl.load(y + i, mask=i < count, other=0.0)
    v *= factor
    if SQUARED:
        v *= v
    tl.store(out + i, v, mask=i < count)


class Launches:
    """What reaches a device's launcher: the compiled kernel's name in the cache, programs, stream and arguments."""

    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []

    def __call__(self, src: Any, metadata: Any) -> Any:
        """Return a launcher of a compiled kernel."""

        def start(x: int, y: int, z: int, stream: int, function: Any, packed: Any, said: Any, enter: Any, leave: Any, *given: Any) -> None:
            for hook in (enter, leave):
                if hook is not None:
                    hook(said)
            given = tuple(v.data_ptr() if isinstance(v, Tensor) else v for v in given)
            self.seen.append((metadata.hash, (x, y, z), stream, given))

        return start


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Launches]:
    """Return the list of launches on a device that is not there; what was bound before is forgotten."""
    if INTERPRETED or not Path(knobs.nvidia.ptxas.path).exists():
        pytest.skip("triton interprets, or has no ptxas: nothing can be compiled for sm_90")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(launch, "start", launch.Launcher())
    with stand_in.hopper(found := Launches()):
        yield found
        add.device_caches.clear()  # while there is a driver that can unload them
        launch.start._bound.clear()
        gc.collect()


def given(count: int = COUNT, dtype: torch.dtype = torch.float32, offset: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    return tuple(torch.zeros(count + 8, dtype=dtype)[offset : offset + count] for _ in range(3))  # pyright: ignore[reportReturnType]


def started(launches: Launches, *arguments: Any, **sizes: Any) -> list[tuple[Any, ...]]:
    """Start a kernel as Triton does, then three times here: through Triton, then bound."""
    launches.seen.clear()
    sizes = {"BLOCK": 16, "num_warps": 1, **sizes}
    add[(3,)](*arguments, **sizes, enable_fp_fusion=True)
    for _ in range(3):
        launch.launch(add, 3, *arguments, **sizes)
    return launches.seen


def test_starts_what_triton_would(launches: Launches) -> None:
    x, y, out = given()
    seen = started(launches, x, y, out, COUNT, 2.0)
    assert len(seen) == 4
    assert len(set(seen)) == 1
    assert seen[0][3] == (x.data_ptr(), y.data_ptr(), out.data_ptr(), COUNT, 2.0, 16, False)


def test_every_difference_is_compiled_for(launches: Launches) -> None:
    x, y, out = given()
    half = given(dtype=torch.float16)
    shifted = given(offset=1)
    variants: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((x, y, out, COUNT, 2.0), {}),
        ((x, None, out, COUNT, 2.0), {}),
        ((*half, COUNT, 2.0), {}),
        ((x, y, half[2], COUNT, 2.0), {}),
        ((shifted[0], y, out, COUNT, 2.0), {}),
        ((x, y, shifted[2], COUNT, 2.0), {}),
        ((x, y, out, 1, 2.0), {}),
        ((x, y, out, COUNT - 1, 2.0), {}),
        ((x, y, out, COUNT, 2), {}),
        ((x, y, out, COUNT, True), {}),
        ((x, y, out, COUNT, 2.0), {"BLOCK": 32}),
        ((x, y, out, COUNT, 2.0), {"SQUARED": True}),
        ((x, y, out, COUNT, 2.0), {"num_warps": 2}),
    ]
    compiled = []
    for _ in range(2):  # the second time all are bound
        for arguments, sizes in variants:
            seen = started(launches, *arguments, **sizes)
            assert len(set(seen)) == 1, (arguments, sizes)
            compiled.append(seen[0][0])
    assert len(set(compiled)) == len(variants)


def test_alignment_may_change_between_calls(launches: Launches) -> None:
    aligned, shifted = given(), given(offset=1)
    names = [started(launches, *maps, COUNT, 2.0)[-1][0] for maps in (aligned, shifted, aligned, shifted)]
    assert names[0] == names[2] != names[1] == names[3]


def test_values_are_those_of_the_call(launches: Launches) -> None:
    x, y, out = given()
    launch.launch(add, 3, x, y, out, COUNT, 2.0, BLOCK=16)
    others = given()
    launch.launch(add, 5, *others, COUNT, 0.5, BLOCK=16)
    assert launches.seen[1][1] == (5, 1, 1)
    assert launches.seen[1][3][:5] == (*(v.data_ptr() for v in others), COUNT, 0.5)


def test_hooks_hear_bound_launches(launches: Launches, monkeypatch: pytest.MonkeyPatch) -> None:
    maps, heard = given(), []
    started(launches, *maps, COUNT, 2.0)
    chain = type(knobs.runtime.launch_enter_hook)()
    monkeypatch.setattr(knobs.runtime, "launch_enter_hook", chain)
    launch.launch(add, 3, *maps, COUNT, 2.0, BLOCK=16, num_warps=1)
    assert not heard
    chain.add(lambda said: heard.append(said.get()["name"]))
    launch.launch(add, 3, *maps, COUNT, 2.0, BLOCK=16, num_warps=1)
    monkeypatch.setattr(knobs.runtime, "launch_enter_hook", None)
    launch.launch(add, 3, *maps, COUNT, 2.0, BLOCK=16, num_warps=1)
    assert heard == ["add"]


def test_what_is_bound_has_a_limit(launches: Launches, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "LIMIT", 3)
    maps = given()
    for count in (17, 18, 19, 20, 21):
        launch.launch(add, 3, *maps, count, 2.0, BLOCK=16)
    assert len(launch.start._bound) <= 3
    assert [given[3] for *_, given in launches.seen] == [17, 18, 19, 20, 21]


class Elsewhere:
    """Tensor of another device than the current one."""

    dtype = torch.float32

    def data_ptr(self) -> int:
        return 4096

    def get_device(self) -> int:
        return 1


@pytest.mark.parametrize("current", [0, 1])
def test_the_tensors_device_is_made_current(launches: Launches, monkeypatch: pytest.MonkeyPatch, current: int) -> None:
    where, asked, streams = [current], [], []

    @contextmanager
    def device(index: int) -> Iterator[None]:
        before, where[0] = where[0], index
        asked.append(index)
        yield
        where[0] = before

    monkeypatch.setattr(torch.cuda, "device", device)
    monkeypatch.setattr(stand_in.Hopper, "get_current_device", lambda self: where[0])
    monkeypatch.setattr(stand_in.Hopper, "get_current_stream", lambda self, device: streams.append((device, where[0])) or 7)
    x = Elsewhere()
    for _ in range(2):
        launch.launch(add, 3, x, x, x, COUNT, 2.0, BLOCK=16)
    assert streams == [(1, 1), (1, 1)]
    assert [stream for _, _, stream, _ in launches.seen] == [7, 7]
    assert asked == ([1, 1] if current == 0 else [1])  # the first launch goes through Triton


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.skipif(INTERPRETED, reason="TRITON_INTERPRET is set")
class TestOnDevice:
    def test_runs_on_the_current_stream(self) -> None:
        x = torch.ones(2**24, device="cuda")
        out, side = torch.empty_like(x), torch.cuda.Stream()
        for _ in range(3):
            torch.cuda.synchronize()
            with torch.cuda.stream(side):
                torch.cuda._sleep(10_000_000)
                x.add_(1)
                launch.launch(add, triton.cdiv(x.numel(), 1024), x, None, out, x.numel(), 2.0, BLOCK=1024)
            side.synchronize()
            assert torch.equal(out, 2 * x)

    def test_views_that_are_not_aligned(self) -> None:
        whole = torch.arange(1000.0, device="cuda")
        out = torch.empty(1001, device="cuda")
        for offset in (0, 1, 0, 3):
            launch.launch(add, 1, whole[offset:][:512], None, out[offset:], 512, 3.0, BLOCK=512)
            assert torch.equal(out[offset:][:512], 3 * whole[offset:][:512])

    def test_a_graph_holds_it(self) -> None:
        x, out = torch.ones(512, device="cuda"), torch.zeros(512, device="cuda")
        launch.launch(add, 1, x, None, out, 512, 2.0, BLOCK=512)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            launch.launch(add, 1, x, None, out, 512, 2.0, BLOCK=512)
        x.fill_(5)
        graph.replay()
        assert torch.equal(out, 2 * x)
