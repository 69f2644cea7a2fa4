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
    cases = {f"{what}, {state}" for what in ("read", "decoded") for state in ("cold", "warm")}
    assert {case: len(rows) for case, rows in tree["times"].items()} == dict.fromkeys(cases, 2)
    assert all(row.keys() == {"ImageFolder", "folder", "shards"} for rows in tree["times"].values() for row in rows)
    assert tree["ratios"]["read, cold"]["cpu"]["ImageFolder"] == 1
    assert tree["ratios"]["decoded, warm"]["wall"]["shards"] > 0
