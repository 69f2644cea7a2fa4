"""The fused operator runs where it pays, and where it has to whatever the size."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from senet import ChannelSE, ChannelSpatialSE, backend
from senet.ops.tail import call
from senet.ops.tail.fusible import TailModules
from senet.ops.tail.worthwhile import (
    ACTIVATED_ON_CPU,
    AROUND,
    BANDWIDTH,
    CONVOLUTION,
    HOST,
    ON_CPU,
    SAVINGS,
    SUSTAINED,
    Saving,
    is_worthwhile,
)

MEASURED = Path(__file__).parents[3] / "benchmarks" / "results" / "launches.amd-epyc-1-threads.json"
PLAIN, SE = TailModules(nn.BatchNorm2d(8), relu=True), TailModules(nn.BatchNorm2d(8), recalibrate=ChannelSE(8), relu=True)


def on_a_gpu(values: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    """Return a map of so many values on a GPU that is not there."""
    with FakeTensorMode():
        return torch.empty(1, 8, values // 8, 1, dtype=dtype, device="cuda")


@pytest.fixture
def savings(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what sets the saving of a plain tail with an identity shortcut, while it trains."""

    def set_saving(maps: float, microseconds: float, host: float = 1e9) -> None:
        monkeypatch.setitem(SAVINGS, ("identity", False, True), Saving(maps, microseconds, 16, host))

    return set_saving


def test_a_cpu_asks_for_the_size_alone() -> None:
    for modules in (PLAIN, SE):
        assert is_worthwhile(torch.empty(1, 1, ON_CPU, 1), modules, "identity")
        assert not is_worthwhile(torch.empty(1, 1, ON_CPU - 1, 1), modules, "identity")


def test_a_cpu_asks_for_larger_maps_of_a_norm_alone() -> None:
    for count, plain in ((ACTIVATED_ON_CPU, True), (ACTIVATED_ON_CPU - 1, False)):
        x = torch.empty(1, 1, count, 1)
        assert is_worthwhile(x, PLAIN, "none") == plain
        assert is_worthwhile(x, SE, "none")


def test_a_gpu_weighs_its_time_against_the_hosts(savings: Callable[..., None]) -> None:
    savings(4, 100)
    values = int(HOST * 100e-6 * BANDWIDTH / (4 * 2))  # of two bytes
    assert is_worthwhile(on_a_gpu(values + 8), PLAIN, "identity")
    assert not is_worthwhile(on_a_gpu(values - 8), PLAIN, "identity")
    assert is_worthwhile(on_a_gpu(values // 2 + 8, torch.float32), PLAIN, "identity")
    savings(8, 100)
    assert is_worthwhile(on_a_gpu(values // 2 + 8), PLAIN, "identity")
    savings(4, 0)
    assert is_worthwhile(on_a_gpu(8), PLAIN, "identity")


def test_a_gpu_that_is_busy_for_longer_than_its_host_leaves_it_the_time(savings: Callable[..., None]) -> None:
    savings(1, 1e9, host=300)
    passes, its_host = CONVOLUTION[True]
    values = int((HOST * 300 + its_host) * 1e-6 * SUSTAINED / ((16 + passes) * 2))
    assert is_worthwhile(on_a_gpu(values + 8), PLAIN, "identity")
    assert not is_worthwhile(on_a_gpu(values - 8), PLAIN, "identity")


def test_forms_and_gradients_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in SAVINGS:
        monkeypatch.setitem(SAVINGS, key, Saving(1, 1e9, 1, 1e9))
    x = on_a_gpu(8)
    for key in SAVINGS:
        shortcut, block, gradients = key
        with monkeypatch.context() as patch, torch.set_grad_enabled(gradients):
            patch.setitem(SAVINGS, key, Saving(1, 0, 1, 0))
            assert is_worthwhile(x, SE if block else PLAIN, shortcut)
        with torch.set_grad_enabled(gradients):
            assert not is_worthwhile(x, SE if block else PLAIN, shortcut)


def test_it_runs_at_any_size_where_nobody_is_to_ask(savings: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    savings(1, 1e9)
    x = on_a_gpu(8)
    assert not is_worthwhile(x, PLAIN, "identity")
    assert is_worthwhile(x, TailModules(nn.SyncBatchNorm(8), relu=True), "identity")
    assert is_worthwhile(x, TailModules(nn.BatchNorm2d(8), nn.SyncBatchNorm(8), relu=True), "projected")
    with backend("triton"):
        assert is_worthwhile(x, PLAIN, "identity")
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert is_worthwhile(x, PLAIN, "identity")
    assert not is_worthwhile(torch.empty(1, 8, 1, 1), PLAIN, "identity")


def test_the_hosts_time_is_what_was_measured() -> None:
    tails = json.loads(MEASURED.read_text())["tails"]
    for (shortcut, block, gradients), saving in SAVINGS.items():
        tail = "identity, scSE" if shortcut == "positions" else f"{shortcut}, {'SE' if block else 'plain'}"
        measured = tails.get(f"{tail}, {'training' if gradients else 'forward'}")
        if measured is not None:
            more = measured["triton"]["host"] - measured["reference"]["host"]
            assert saving.microseconds == max(0, round(more, -1)), (shortcut, block, gradients)
            assert saving.host == round(measured["triton"]["host"], -1), (shortcut, block, gradients)


def test_the_host_of_a_gpu_is_as_slow_as_a_step_was_that_waited_for_it() -> None:
    tails = json.loads(MEASURED.read_text())["tails"]
    alone = tails["none, plain, training"]
    counted = 16 * tails["identity, SE, training"]["triton"]["host"] + 17 * (alone["triton"]["host"] - alone["reference"]["host"])
    assert round((64.5e-3 - AROUND) / counted * 1e6, 1) == HOST  # the step is in docs/gpu.md
    assert round((AROUND * 1e6 - 33 * HOST * alone["reference"]["host"]) / 53, -1) == CONVOLUTION[True][1]


@pytest.mark.parametrize(
    ("shortcut", "block", "taken"),
    [("none", False, [True, False, False, False]), ("identity", False, [True, True, False, False]), ("identity", True, [True] * 4)],
)
def test_what_a_resnet_50_of_256_images_takes_of_which_kernels_are_launched_one_by_one(
    shortcut: str, block: bool, taken: list[bool]
) -> None:
    sides = (112, 56, 28, 14) if shortcut == "none" else (56, 28, 14, 7)
    channels = (64, 64, 128, 256) if shortcut == "none" else (256, 512, 1024, 2048)
    maps = [on_a_gpu(256 * c * side**2) for c, side in zip(channels, sides, strict=True)]
    assert [is_worthwhile(x, SE if block else PLAIN, shortcut) for x in maps] == taken


def test_a_block_that_gates_positions_has_its_own_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(call, "is_worthwhile", lambda branch, modules, shortcut: asked.append(shortcut) or shortcut != "positions")
    x, norm = torch.randn(2, 8, 4, 4), nn.BatchNorm2d(8)
    for block, kinds in ((ChannelSE(8), ["identity"]), (ChannelSpatialSE(8), ["identity", "positions"])):
        asked.clear()
        call.residual_tail(x, x, norm=norm, recalibrate=block)
        assert asked == kinds
