"""The page on tasks: its task is a file, and its commands run it."""

import re
from pathlib import Path

import pytest
from PIL import Image

from pages import DOCS, run_commands
from senet.results.run_folder import RunFolder


def test_its_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("L", (8, 8), 100).save("digit.png")
    run_commands(DOCS / "tasks.md")
    rows = RunFolder.at("runs/again").metrics()
    assert rows[-1]["val_mae"] < rows[0]["val_mae"]
    assert re.search(r"^digit.png: -?\d+\.\d % ink$", capsys.readouterr().out, re.MULTILINE)
