"""The page on tasks: its task is a file that runs, in Python and by its commands."""

import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

from senet.cli.main import main
from senet.results.run_folder import RunFolder

PAGE = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")
FILE, USE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [shlex.split(line)[1:] for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ink.py").write_text(FILE)
    Image.new("L", (8, 8), 100).save("digit.png")
    exec(compile(USE, "tasks.md", "exec"), {})
    first = RunFolder.at("runs/ink").metrics()
    assert first[-1]["val_mae"] < first[0]["val_mae"]
    capsys.readouterr()
    for words in COMMANDS:
        assert main(words) == 0, words
    assert [row["val_mae"] for row in RunFolder.at("runs/again").metrics()] == [row["val_mae"] for row in first]
    assert re.search(r"^digit.png: \d+\.\d % ink$", capsys.readouterr().out, re.MULTILINE)
