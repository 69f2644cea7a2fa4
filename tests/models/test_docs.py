"""The page on networks: its examples run, one network is a file that its Python and its commands take."""

from pathlib import Path

import pytest

from pages import DOCS, examples, run_commands, write_file

PAGE = DOCS / "models.md"


def test_its_python_prints_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    (_, encoders), (_, detectors), (_, file), (_, use) = examples(PAGE, "python")
    exec(compile(encoders, PAGE.name, "exec"), {})
    exec(compile(detectors, PAGE.name, "exec"), {})
    assert write_file(file)
    exec(compile(use, PAGE.name, "exec"), {})
    assert capsys.readouterr().out == use.partition("# ")[2]


def test_its_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_commands(PAGE)
    assert (tmp_path / "runs" / "compare-digits" / "report.html").exists()
