"""The record of insertions into other people's networks: what is noted, what differs, and that nothing stops it."""

import json
import time
from pathlib import Path

import pytest
import torch
from benchmarks import insertion
from torch import nn

import senet
from senet.errors import UsageError

NETWORK = "test_resnet"


def test_a_network_that_takes_blocks() -> None:
    row = insertion.measure(NETWORK)
    assert row["kinds"] == {"residual": row["sites"]}
    assert len(row["where"]) == row["sites"] > 0
    assert row["error"] < 1e-5
    assert row["removed"]
    assert "sites (" in insertion.described(NETWORK, row)


def test_a_refusal_is_kept_word_by_word(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise UsageError("found no site")

    monkeypatch.setattr(senet, "find_sites", refuse)
    row = insertion.measure(NETWORK)
    assert row == {"refused": "found no site"}
    assert insertion.described(NETWORK, row).endswith(" refused: found no site")


def test_work_that_fails_or_never_ends_is_a_row() -> None:
    def wait(name: str) -> insertion.Row:
        time.sleep(60)
        return {}

    def fail(name: str) -> insertion.Row:
        raise ValueError("two\nlines")

    assert insertion.measured(NETWORK, wait, seconds=0.2)["failed"] == "no result after 0.2 s"
    assert insertion.measured(NETWORK, fail)["failed"] == "ValueError: two lines"


def test_networks_are_drawn_by_the_seed_and_known_ones_are_not() -> None:
    first, *rest = insertion.drawn(7, 3, set())
    assert insertion.drawn(7, 3, set()) == [first, *rest]
    assert insertion.drawn(7, 2, {first}) == rest
    assert all(0 < insertion.size_of(name)[0] < insertion.MAX_PARAMETERS for name in rest)


def test_a_check_says_which_sites_differ(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "record.json"
    row = insertion.measure(NETWORK)
    monkeypatch.setattr(insertion, "measured", lambda name: row)
    insertion.record(path, [NETWORK])
    assert insertion.main(["check", str(path)]) == 0
    gone, *kept = row["where"]
    path.write_text(json.dumps({NETWORK: row | {"where": [*kept, "elsewhere"], "digest": ""}}))
    assert insertion.main(["check", str(path)]) == 1
    said = capsys.readouterr().out
    assert f"  - elsewhere\n  + {gone}" in said


def test_a_network_is_as_if_trained() -> None:
    model = insertion.as_if_trained(NETWORK)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    assert all(norm.weight.any() and norm.running_mean is not None and norm.running_mean.any() for norm in norms)
    images, outputs = insertion.first_outputs(model)
    assert images.shape[-1] == insertion.SIDES[0]
    assert torch.isfinite(outputs).all()
