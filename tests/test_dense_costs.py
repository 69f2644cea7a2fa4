"""What blocks cost in F-CNNs: counts and times are written, and are those that pages name."""

import json
from pathlib import Path

import pytest
from benchmarks import dense_costs
from benchmarks.run import RESULTS


def test_counts_and_times_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense_costs, "NETWORKS", ("sd_net",))
    assert dense_costs.main(["--side", "64", "--timed-side", "16", "--rounds", "1", "--out", str(tmp_path)]) == 0
    (path,) = tmp_path.glob("dense_costs.*.json")
    tree = json.loads(path.read_text())
    assert {"device", "versions", "date", "commit"} <= tree.keys()
    scse = tree["counts"]["sd_net"]["scse"]
    assert scse["own"]["params"] - scse["plain"]["params"] == 34_056
    assert tree["times"]["sd_net"]["scse"]["ratio"]["cpu"] > 0


def test_the_page_has_the_figures_of_the_committed_result() -> None:
    (path,) = RESULTS.glob("dense_costs.*.json")
    tree = json.loads(path.read_text())
    page = (Path(__file__).parents[1] / "docs" / "models.md").read_text(encoding="utf-8")
    for name, blocks in tree["counts"].items():
        row = next(line for line in page.splitlines() if line.startswith((f"| `{name}` | 2", f"| `{name}` | 3")))
        kept = [f"{blocks[block]['ratios']['activation_bytes']:.2f}" for block in dense_costs.BLOCKS]
        assert " / ".join(kept) in row
        assert f"| {tree['times'][name]['scse']['ratio']['cpu']:.2f} |" in row
