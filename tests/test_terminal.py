"""The console of commands and progress: a name is text and nothing else."""

import os

import pytest
from hypothesis import given, strategies as st
from rich.table import Table

from senet.streams import say
from senet.terminal import Terminal, as_text, literal

HOSTILE = ["[red]x[/red]", "[/x]", ":cat:", "\x1b[31mred", "\x1b]0;title\x07", "a\u202eb", "caf\udce9", "\x9b2J"]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_shown_as_they_are(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(name, title=name, caption=name)
    table.add_row(name)
    Terminal().print(table)
    Terminal(stderr=True).print(name)
    Terminal().print(literal(name, "bold"))
    out, err = capsys.readouterr()
    assert (out + err).replace("\n", "").isprintable()
    spelled = name if name.isprintable() else ascii(name)[1:-1]
    assert out.count(spelled) == 5
    assert err == f"{spelled}\n"


@given(st.text(st.characters(), max_size=40))
def test_no_cell_leaves_its_table(text: str) -> None:
    table = Table("name")
    table.add_row(text)
    assert as_text(table, 80).replace("\n", "").isprintable()


def test_progress_that_nobody_watches_ends_nothing_and_output_that_nobody_reads_does(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        monkeypatch.setattr("sys.stdout", stream)
        with pytest.raises(BrokenPipeError):
            Terminal().print("table")
        monkeypatch.setattr("sys.stderr", stream)
        progress = Terminal(stderr=True)
        progress.print("epoch 1")
        progress.print("epoch 2")
        say("a remark", error=True)
