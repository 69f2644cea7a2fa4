"""Functions of a user's own file: run once, only when named, found only where they are defined."""

import pickle
from pathlib import Path

import pytest

from senet import userfile
from senet.errors import UsageError
from senet.userfile import load_function, place_in_user_file, was_loaded

CODE = """
from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from pathlib import Path

with Path(__file__).with_suffix(".log").open("a") as log:
    log.write("ran ")


@dataclass
class Pair:
    one: int
    other: int


def make():
    return Pair(1, 2)


number = 3
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(CODE)
    return path


def test_a_file_runs_once_whatever_its_name(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    assert load_function(f"{file}:make", "pair")() == load_function("mine.py:Pair", "pair")(1, 2)
    assert (file.parent / "mine.log").read_text() == "ran "


def test_what_it_makes_can_be_sent_to_worker_processes(file: Path) -> None:
    pair = load_function(f"{file}:make", "pair")()
    assert pickle.loads(pickle.dumps(pair)) == pair


def test_a_file_that_is_gone_holds_up_no_other_process(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_function(f"{file}:make", "network")
    other = tmp_path / "other.py"
    other.write_text("def make():\n    return 1\n")
    load_function(f"{other}:make", "network")
    file.unlink()
    monkeypatch.setattr(userfile, "_modules", {place: module for place, module in userfile._modules.items() if place.parent == tmp_path})
    sent = pickle.dumps(userfile.UserFiles())
    monkeypatch.setattr(userfile, "_modules", {})  # as in a process that has run nothing yet
    pickle.loads(sent)
    assert list(userfile._modules) == [other.resolve()]


def test_files_of_one_name_are_told_apart(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "mine.py"
    other.parent.mkdir()
    other.write_text("def make():\n    return 'other'\n")
    assert load_function(f"{file}:make", "pair")() != load_function(f"{other}:make", "pair")() == "other"


def test_only_what_was_loaded_counts_as_named(file: Path) -> None:
    assert not was_loaded(f"{file}:make")
    load_function(f"{file}:make", "pair")
    assert was_loaded(f"{file}:make")
    assert not was_loaded(f"{file}:Pair")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.py:make", r"there is no file 'nowhere.py': a pair of your own is named path/to/file.py:function"),
        ("{file}:mak", r"mine.py has no function or class 'mak' \(did you mean 'make'\?\); it has: Pair, make"),
        ("{file}:sqrt", r"mine.py has no function or class 'sqrt'.*; it has: Pair, make"),
        ("{file}:number", r"mine.py has no function or class 'number'"),
    ],
)
def test_what_is_not_there_is_one_line(file: Path, name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        load_function(name.format(file=file), "pair")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("line", ["from os import system as made", "import os\nmade = os.system", "from subprocess import Popen as made"])
def test_what_a_file_imports_is_not_called(line: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(f"{line}\ndef make(): ...\n")
    with pytest.raises(UsageError, match=r"mine.py has no function or class 'made'.*; it has: make$"):
        load_function(f"{tmp_path}/mine.py:made", "network")


def test_what_a_file_makes_of_others_is_its_own(tmp_path: Path) -> None:
    code = "from functools import cache, partial\n\nthree = partial(max, 3)\n\n@cache\ndef two(): return 2\n\none = lambda: 1\n"
    (tmp_path / "mine.py").write_text(code)
    assert [load_function(f"{tmp_path}/mine.py:{name}", "number")() for name in ("one", "two")] == [1, 2]
    assert load_function(f"{tmp_path}/mine.py:three", "number")(2) == 3


def test_a_file_may_pass_on_what_lies_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner, packages = tmp_path / "parts_of_mine", tmp_path / "site-packages"
    inner.mkdir()
    packages.mkdir()
    (inner / "__init__.py").write_text("def made(): return 1\n")
    (packages / "a_stranger.py").write_text("def strange(): return 2\n")
    (tmp_path / "mine.py").write_text("from parts_of_mine import made\nfrom a_stranger import strange\n")
    for folder in (tmp_path, packages):
        monkeypatch.syspath_prepend(folder)
    assert load_function(f"{tmp_path}/mine.py:made", "number")() == 1
    with pytest.raises(UsageError, match=r"it has: made$"):
        load_function(f"{tmp_path}/mine.py:strange", "number")


def test_a_file_that_fails_is_run_again(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("raise RuntimeError('half')")
    with pytest.raises(RuntimeError):
        load_function(f"{path}:make", "pair")
    path.write_text("def make():\n    return 1\n")
    assert load_function(f"{path}:make", "pair")() == 1


def test_an_error_is_placed_in_the_innermost_line_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("import json\n\ndef outer():\n    return inner()\n\ndef inner():\n    return json.loads('{')\n")
    with pytest.raises(ValueError, match="Expecting") as caught:
        load_function(f"{path}:outer", "pair")()
    assert place_in_user_file(caught.value) == "mine.py, line 7"
    with pytest.raises(ZeroDivisionError) as elsewhere:
        print(1 / 0)
    assert place_in_user_file(elsewhere.value) is None
