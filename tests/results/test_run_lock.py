"""One process at a time in a run's folder; what a killed one leaves is no obstacle."""

import errno
import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from senet.errors import UsageError
from senet.results.run_folder import RunFolder
from senet.results.run_lock import only_process

HOLD = "import sys, pathlib, time; from senet.results.run_lock import only_process\n"
HOLD += "with only_process(pathlib.Path(sys.argv[1])):\n    print('held', flush=True); time.sleep(60)"


def holding(folder: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_another_process_is_named_and_a_killed_one_is_no_obstacle(tmp_path: Path) -> None:
    process = holding(tmp_path)
    with process:
        try:
            with pytest.raises(UsageError, match=rf"another process trains here, pid {process.pid} on "), only_process(tmp_path):
                pass
        finally:
            process.send_signal(signal.SIGKILL)
    with only_process(tmp_path):
        assert json.loads((tmp_path / ".holder.json").read_text())["pid"] == os.getpid()
    assert not (tmp_path / ".holder.json").exists()


@pytest.mark.parametrize("text", ["", "[]", '{"pid": null, "host": 1}', "[" * 100000, '{"host": "\\u001b"}'])
def test_a_holder_that_cannot_be_read_is_another_process_all_the_same(tmp_path: Path, text: str) -> None:
    with FileLock(tmp_path / ".lock"):
        (tmp_path / ".holder.json").write_text(text)
        with pytest.raises(UsageError, match="another process trains here, which has not said"), only_process(tmp_path):
            pass


def test_who_holds_a_folder_may_hold_it_again(tmp_path: Path) -> None:
    with only_process(tmp_path):
        with only_process(tmp_path):
            pass
        assert (tmp_path / ".holder.json").exists()
        with pytest.raises(Timeout), FileLock(tmp_path / ".lock", timeout=0):
            pass


@pytest.mark.parametrize("error", [OSError(errno.ENOLCK, "No locks"), OSError(errno.ENOTSUP, "no"), NotImplementedError("flock")])
def test_a_file_system_without_locks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def missing(*args, **kwargs):
        raise error

    monkeypatch.setattr(FileLock, "acquire", missing)
    with caplog.at_level(logging.WARNING), only_process(tmp_path):
        assert "has no locks: see to it that no second process trains there" in caplog.text


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"cannot write in .*Not a directory"), only_process(tmp_path / "file" / "run"):
        pass


def test_what_a_killed_process_left_half_written_is_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in (".recipe.yaml.tmp", ".last.ckpt.123-0123abcd.tmp", ".holder.json"):
        (tmp_path / name).touch()
    run = RunFolder(tmp_path)
    assert run.is_empty()
    (tmp_path / ".thesis.tex.tmp").touch()
    assert not run.is_empty()
    with run.held():
        assert {path.name for path in tmp_path.iterdir()} == {".thesis.tex.tmp", ".lock", ".holder.json"}
