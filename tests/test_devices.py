import pytest
import torch

from senet.devices import available_device, gpu_of
from senet.errors import UsageError


@pytest.mark.parametrize("name", ["cpu", "cpu:0", torch.device("cpu")])
def test_a_cpu_is_always_there(name):
    assert available_device(name).type == "cpu"


@pytest.mark.parametrize("name", ["nonsense", "", "cuda:x", "CPU", "cuda:-1", "a\nb"])
def test_unknown_names_are_refused_with_those_that_are_allowed(name):
    with pytest.raises(UsageError, match=r"unknown device .*; allowed: cpu") as error:
        available_device(name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["mps", "xpu", "hpu", "meta", "vulkan", "cuda", "cuda:7"])
def test_devices_that_are_not_here_are_refused(name, monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    with pytest.raises(UsageError, match=f"this machine has no device '{name}' that torch can use; allowed: cpu;"):
        available_device(name)


def test_an_accelerator_of_another_kind_does_not_stand_in(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    assert available_device("cuda:1") == torch.device("cuda:1")
    for name in ("mps", "xpu:0", "cuda:2"):
        with pytest.raises(UsageError, match="allowed: cpu, cuda, cuda:0, cuda:1;"):
            available_device(name)


@pytest.mark.parametrize(
    ("named", "count", "seen"),
    [
        (None, 2, ["0", "1", "0"]),
        (None, 0, [None, None, None]),
        ("", 0, [None, None, None]),
        ("5", 1, ["5", "5", "5"]),
        ("6, 3", 2, ["6", "3", "6"]),
        ("GPU-8a,GPU-1b,GPU-2c", 3, ["GPU-8a", "GPU-1b", "GPU-2c"]),
        ("1,0,9,2", 2, ["1", "0", "1"]),  # CUDA stops at the first that is not there
    ],
)
def test_processes_share_out_the_gpus_that_are_seen(named, count, seen, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if named is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    assert [gpu_of(number).get("CUDA_VISIBLE_DEVICES") for number in range(3)] == seen
