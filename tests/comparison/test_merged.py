"""Runs that were made on machines without a common disk: copied together they make the result of one machine."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import senet.comparison.measure as measure
from senet.comparison import compare
from senet.comparison.environment import environment_of
from senet.recipe import load_recipe, override
from senet.report.page import render
from senet.results.comparison import Result
from senet.results.run_folder import RunFolder


def timeless(tree: Any) -> Any:
    """Return a result as plain data without what the clock says, and where runs lie."""
    if isinstance(tree, dict):
        drawn = ("summary", "latency", "step", "date", "folder")
        return {name: timeless(value) for name, value in tree.items() if not name.startswith(drawn)}
    return [timeless(value) for value in tree] if isinstance(tree, list) else tree


@pytest.mark.slow
def test_two_halves_make_the_result_of_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "ROUNDS", 3)
    recipe = override(load_recipe("digits"), {"training.epochs": 1, "data.batch_size": 256, "data.image_size": 4})
    whole = compare(recipe, seeds=2, out=tmp_path / "whole", progress=False)
    for seed in range(2):
        compare(override(recipe, {"seed": seed}), seeds=1, out=tmp_path / str(seed), report=False, progress=False)
        shutil.copytree(tmp_path / str(seed), tmp_path / "merged", dirs_exist_ok=True)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.glob("merged/*/*/best.safetensors")}
    merged = compare(recipe, seeds=2, out=tmp_path / "merged", progress=False)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("merged/*/*/best.safetensors")} == stamps, "nothing was trained"
    assert len(stamps) == 4
    one, other = (timeless(json.loads(result.json.read_text())) for result in (whole, merged) if result.json)
    assert one == other
    assert "differs" not in merged.environment
    trees = [json.loads(result.json.read_text()) for result in (whole, merged) if result.json]
    for name in ("cost", "runs"):  # the page of the one result with the times and places of the other is the page of the other
        for variant, theirs in zip(trees[0]["variants"], trees[1]["variants"], strict=True):
            variant[name] = theirs[name]
    trees[0]["environment"]["date"] = trees[1]["environment"]["date"]
    assert render(Result.from_dict(trees[0])) == render(Result.from_dict(trees[1]))


def test_what_differs_between_the_machines_is_said(tmp_path: Path) -> None:
    runs = []
    for place, (device, torch) in enumerate([("NVIDIA H100", "2.15.0"), ("NVIDIA H200", "2.14.1"), ("NVIDIA H200", "2.14.1")]):
        run = RunFolder(tmp_path / str(place))
        run.path.mkdir()
        environment = {
            "started": "2026-11-28T01:00:00",
            "python": "3.11.7",
            "platform": "Linux",
            "device": device,
            "accelerator": "cuda",
            "processes": 1,
            "threads": 8,
            "packages": {"senet": "0.1.0", "torch": torch},
        }
        (run.path / "environment.json").write_text(json.dumps(environment))
        runs.append(run)
    found = environment_of(runs)
    assert found["device"] == "NVIDIA H100, NVIDIA H200"
    assert found["differs"] == "device, torch: not the same in all runs"
    assert "differs" not in environment_of(runs[1:])
