"""Whatever anybody wrote is read or refused in one line, soon and in little memory: see `fuzz.contract`."""

from pathlib import Path

import pytest

from fuzz.binary_kinds import BINARY
from fuzz.contract import Kind, check, check_hostile
from fuzz.text_kinds import TEXT

KINDS = BINARY | TEXT
HOSTILE = [(name, number) for name, kind in KINDS.items() for number in range(len(kind.hostile))]


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "made").mkdir()
    return tmp_path / "made"


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_they_are_sound_before_they_are_changed(kind: Kind, folder: Path) -> None:
    for content in kind.samples(folder):
        kind.read(content, folder)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_changed_ones(kind: Kind, folder: Path) -> None:
    outcome = check(kind, min(200, kind.many // 50), folder)
    assert outcome.refused > 20
    assert not (folder.parent / "ran").exists()


@pytest.mark.parametrize(("name", "number"), HOSTILE)
def test_those_made_on_purpose(name: str, number: int, folder: Path) -> None:
    check_hostile(KINDS[name], KINDS[name].hostile[number], folder)
    assert not (folder.parent / "ran").exists()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_many_changed_ones(kind: Kind, folder: Path) -> None:
    print("", check(kind, kind.many, folder, seed=1))
    assert not (folder.parent / "ran").exists()
