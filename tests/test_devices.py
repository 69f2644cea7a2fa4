import pytest
import torch

from senet.devices import available_device
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
