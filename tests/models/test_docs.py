"""The page on networks: its network is a file that its commands take."""

import re
import shlex
from pathlib import Path

import pytest

from senet.cli.main import main

PAGE = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
FILE, USE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [shlex.split(line)[1:] for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    Path("small.py").write_text(FILE)
    exec(compile(USE, "models.md", "exec"), {})
    assert capsys.readouterr().out == USE.partition("# ")[2]
    for words in COMMANDS:
        assert main(words) == 0, words
    assert (tmp_path / "runs" / "compare-digits" / "report.html").exists()
