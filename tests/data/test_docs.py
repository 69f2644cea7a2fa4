"""The page on data: its source is a file, its commands run it, and every source of the package is named."""

import re
import shlex
from pathlib import Path

import pytest

from senet.cli.main import main
from senet.data.source import SOURCES
from senet.results.run_folder import RunFolder

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
FILES = re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [shlex.split(line)[1:] for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]


def test_its_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in FILES:
        Path(name).write_text(text)
    for words in COMMANDS:
        assert main(words) == 0, words
    assert RunFolder.at("runs/again").result().metrics["top1"] > 90
    assert "512 training and 128 validation images of 2 classes" in " ".join(capsys.readouterr().out.split())


def test_every_source_is_named() -> None:
    table = PAGE.partition("## ")[0]
    assert [name for name in SOURCES if f"`{name}`" not in table] == []
