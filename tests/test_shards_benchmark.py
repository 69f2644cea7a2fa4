"""The benchmark of shards times every reader in every round, and writes it down."""

import json
from pathlib import Path

from benchmarks import shards

from data.shards.made_folder import make_folder


def test_times_and_ratios_are_written(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "photos")
    assert shards.main(["--root", str(root), "--images", "6", "--rounds", "2", "--out", str(tmp_path / "out")]) == 0
    (path,) = (tmp_path / "out").iterdir()
    tree = json.loads(path.read_text())
    assert {"device", "versions", "date", "commit"} <= tree.keys()
    assert {(state, name, len(rows)) for state, times in tree["times"].items() for name, rows in times.items()} == {
        (state, name, 2) for state in ("warm", "cold") for name in ("ImageFolder", "folder", "shards")
    }
    assert tree["ratios"]["cold"]["cpu"]["ImageFolder"] == 1
    assert tree["ratios"]["warm"]["wall"]["shards"] > 0
