"""The record of what senet computes: the same code gives the same digests, and `check` tells when one differs."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from benchmarks import behaviour
from torch import Tensor, nn

from foreign import hosts

HOST = "two units"


class Unit(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.bn(self.conv(x)))


def two_units() -> nn.Module:
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), Unit(), Unit(), head)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Record one small host only, and leave the threads as they were."""
    threads = torch.get_num_threads()
    monkeypatch.setattr(hosts, "HOSTS", {HOST: hosts.Host(two_units, ("1.bn", "2.bn"), size=16)})
    monkeypatch.setattr(behaviour, "networks", lambda: iter(()))
    for part in ("runs", "exported"):
        monkeypatch.setattr(behaviour, part, lambda folder: iter(()))
    yield
    torch.set_num_threads(threads)


def test_the_same_part_gives_the_same_digests_twice() -> None:
    first, second = (behaviour.record(lambda line: None) for _ in range(2))
    assert first == second
    assert set(first) == {f"plan {HOST} se", f"plan {HOST} scse", f"inserted {HOST}"}
    assert len(set(first.values())) == 3


def test_one_bit_is_another_digest() -> None:
    value = torch.ones(3)
    other = value.clone()
    other[1] += torch.finfo(torch.float32).eps
    assert behaviour.digest(value) == behaviour.digest(value.clone()) != behaviour.digest(other)
    assert behaviour.state_digest(nn.BatchNorm1d(2)) != behaviour.state_digest(nn.BatchNorm1d(3))


def test_check_exits_with_1_where_a_digest_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "behaviour.json"
    assert behaviour.main(["record", str(path)]) == 0
    assert behaviour.main(["check", str(path)]) == 0
    assert "3 of 3 equal" in capsys.readouterr().out
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {f"plan {HOST} se": "0" * 16}))
    assert behaviour.main(["check", str(path)]) == 1
    assert f"differs: plan {HOST} se\n2 of 3 equal" in capsys.readouterr().out


def test_check_exits_with_1_where_something_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "behaviour.json"
    assert behaviour.main(["record", str(path)]) == 0
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"plan of a host that is gone": "0" * 16}))
    assert behaviour.main(["check", str(path)]) == 1
    assert "differs: plan of a host that is gone" in capsys.readouterr().out
