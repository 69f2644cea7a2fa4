"""The page on data: its source is a file, its commands run it, and every source of the package is named."""

from pathlib import Path

import pytest

from pages import DOCS, run_commands
from senet.data.source import SOURCES
from senet.results.run_folder import RunFolder

PAGE = DOCS / "data.md"


def test_its_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    run_commands(PAGE)
    assert RunFolder.at("runs/again").result().metrics["top1"] > 90
    assert "512 training and 128 validation images of 2 classes" in " ".join(capsys.readouterr().out.split())


def test_every_source_is_named() -> None:
    table = PAGE.read_text(encoding="utf-8").partition("## ")[0]
    assert [name for name in SOURCES if f"`{name}`" not in table] == []
