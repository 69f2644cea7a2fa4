"""The page on tasks: its task is a file, and its commands run it."""

import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

from senet.cli.main import main
from senet.results.run_folder import RunFolder

PAGE = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")
FILES = re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [shlex.split(line)[1:] for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]


def test_its_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in FILES:
        Path(name).write_text(text)
    Image.new("L", (8, 8), 100).save("digit.png")
    for words in COMMANDS:
        assert main(words) == 0, words
    rows = RunFolder.at("runs/again").metrics()
    assert rows[-1]["val_mae"] < rows[0]["val_mae"]
    assert re.search(r"^digit.png: -?\d+\.\d % ink$", capsys.readouterr().out, re.MULTILINE)
