"""What README and docs show, works: their Python runs, their commands parse, their links lead somewhere."""

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

import senet
from pages import FENCE, PAGES, ROOT, examples, name_of, shell_lines, write_file
from senet.cli.arguments import command_parser
from senet.cli.main import COMMANDS
from senet.recipe import list_recipes, load_recipe

OPEN = re.compile(r"[\[\]|]|\.\.\.|^senet COMMAND| --?[\w-]+$")
"""What a command in the text has that is only spoken of."""
NO_RUN = re.compile(r" no-run: .{10,}")
"""The mark of an example that cannot run here, and why."""
NOT_RUN = {
    "README.md": 1,
    "docs/yolo.md": 1,
    "docs/nnunet.md": 1,
    "docs/optimize.md": 1,
    "docs/compression.md": 1,
    "docs/blocks/sse.md": 1,
    "docs/blocks/cmpe_se.md": 1,
}
"""How many examples of a page have that mark."""
SHORTER = {"README.md": ('senet.compare("digits", ', 'senet.compare("short.yaml", seeds=1, ')}
"""What an example runs instead, in a test."""


def commands(page: Path) -> list[str]:
    """Return the commands of a page: lines of its shell blocks, and whole commands in its text, not just names and flags."""
    text = page.read_text(encoding="utf-8")
    lines = shell_lines(page) + [code for code in re.findall(r"`(senet \w+ [^`]+)`", FENCE.sub("", text)) if not OPEN.search(code)]
    return [line.removeprefix("$ ") for line in lines]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub: object, own_kinds: None) -> Path:
    """Return the working folder, which has what examples take for granted: a trained network, a recipe, a hub."""
    senet.save_weights(senet.create_model("se_preresnet20"), tmp_path / "runs" / "mine" / "best.safetensors")
    (tmp_path / "short.yaml").write_text("base: digits\nname: short\ntraining: {epochs: 1}\n")
    monkeypatch.setattr("oracles.hub_server.USER", "USER")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.filterwarnings("ignore:Use 'content:DeprecationWarning")  # in huggingface_hub, of its own HTTP library
@pytest.mark.parametrize("page", [page for page in PAGES if examples(page, "python")], ids=name_of)
def test_python_runs(page: Path, place: Path, capsys: pytest.CaptureFixture) -> None:
    """The blocks of a page run one after the other, as a reader would type them; those that begin with a file's name are that file."""
    names: dict[str, object] = {}
    marks = [mark for mark, _ in examples(page, "python") if mark]
    assert [mark for mark in marks if not NO_RUN.fullmatch(mark)] == []
    assert len(marks) == NOT_RUN.get(name_of(page), 0)
    long, short = SHORTER.get(name_of(page), ("", ""))
    for mark, text in examples(page, "python"):
        if not write_file(text) and not mark:
            exec(compile(text.replace(long, short) if long else text, name_of(page), "exec"), names)
    assert long in page.read_text(encoding="utf-8")
    assert not re.search(r"<(bound method|function|built-in)|<[\w.]+ object at 0x", capsys.readouterr().out)


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=name_of)
def test_commands_parse(page: Path) -> None:
    """Every flag is one that its command has, every field and value of a recipe one that it takes."""
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for line in commands(page):
        program, *words = shlex.split(line, comments=True) or [""]
        if program == "make":
            assert set(words) <= set(targets), line
        if program != "senet":
            continue
        command, *words = words
        assert command in COMMANDS, line
        parser = command_parser(f"senet {command}", COMMANDS[command])
        import_module(f"senet.cli.{command}").add_arguments(parser)
        args = parser.words(words)
        if args.changes and getattr(args, "recipe", None) in list_recipes():
            load_recipe(args.recipe, args.changes)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_a_printed_method_would_be_seen(place: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    page = place / "page.md"
    page.write_text("```python\nprint(''.join)\n```\n")
    monkeypatch.setattr("pages.ROOT", place)
    with pytest.raises(AssertionError):
        test_python_runs(page, place, capsys)


def test_an_unknown_flag_would_be_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```sh\nsenet train digits --lerning-rate 1   # a typo\n```\n")
    with pytest.raises(ValueError, match="unknown flag '--lerning-rate'"):
        test_commands_parse(page)
