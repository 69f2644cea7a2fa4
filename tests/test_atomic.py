"""Files are the old version or the new one, never anything between."""

import errno
import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from senet.atomic import DiskFullError, NotWrittenError, replacing, temporaries, write_text


def test_a_new_file_and_its_folder_are_made(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b.txt", "é")
    assert (tmp_path / "a" / "b.txt").read_text(encoding="utf-8") == "é"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.txt"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half of the n")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_old_file_is_there_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_data_reach_the_disk_before_their_name_and_the_name_before_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    sync, replace = os.fsync, Path.replace

    def synced(descriptor: int) -> None:
        events.append("names" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "data")
        sync(descriptor)

    def replaced(path: Path, target: Path) -> Path:
        events.append(f"-> {target.name}")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    path = tmp_path / "file"
    path.write_text("old")
    with replacing(path, keep=tmp_path / "before") as temporary:
        temporary.write_text("new")
    assert events == ["data", "-> before", "-> file", "names"]
    assert (path.read_text(), (tmp_path / "before").read_text()) == ("new", "old")


@pytest.mark.parametrize("links", [True, False])
def test_the_old_version_is_kept_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, links: bool) -> None:
    path, before = tmp_path / "file", tmp_path / "before"
    if not links:
        monkeypatch.setattr(os, "link", lambda *args, **options: (_ for _ in ()).throw(OSError(errno.EPERM, "no links here")))
    for text in ("1", "2", "3"):
        with replacing(path, keep=before) as temporary:
            temporary.write_text(text)
    assert (path.read_text(), before.read_text()) == ("3", "2")
    assert sorted(tmp_path.iterdir()) == [before, path]


def test_there_is_a_file_at_every_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, before, replace = tmp_path / "file", tmp_path / "before", Path.replace

    def ended(old: Path, new: Path) -> Path:
        if new == path:
            raise OSError(errno.EIO, "the drive does not answer", str(old))
        return replace(old, new)

    def keep_and_write(text: str) -> None:
        with replacing(path, keep=before) as temporary:
            temporary.write_text(text)

    path.write_text("old")
    for _ in range(2):  # the second time both are the same file
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", ended)
            with pytest.raises(NotWrittenError):
                keep_and_write("new")
        assert (path.read_text(), before.read_text()) == ("old", "old")
    keep_and_write("new")
    assert (path.read_text(), before.read_text()) == ("new", "old")
    assert sorted(tmp_path.iterdir()) == [before, path]


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with replacing(path) as one, replacing(path) as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
        assert temporaries(tmp_path, ["file"]) == sorted([one, other])
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_left_is_told_from_what_is_not_ours(tmp_path: Path) -> None:
    for name in (".file.tmp", ".file.77-01234567.tmp", ".other.tmp", ".file.77-0123456.tmp", "file.tmp", ".file.tmp.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in temporaries(tmp_path, ["file"])] == [".file.77-01234567.tmp", ".file.tmp"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_no_room_is_one_line_that_names_the_file_and_the_room(tmp_path: Path, number: int) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half of the n")
            raise OSError(number, "no room")

    with pytest.raises(DiskFullError, match=rf"cannot write {path}: .*, [\d,]+ MB free there"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_largest_file_that_the_system_allows(tmp_path: Path) -> None:
    code = "import sys; from senet.atomic import write_text; write_text(sys.argv[1], 'x' * 10000)"

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    found = subprocess.run([sys.executable, "-c", code, tmp_path / "file"], preexec_fn=limited, stderr=subprocess.PIPE, text=True)
    assert "DiskFullError: cannot write" in found.stderr
    assert list(tmp_path.iterdir()) == []
