"""stdout and stderr that are closed, full, in ASCII, or that nobody reads to the end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = [["--help"], ["recipes", "--help"], ["recipes", "show", "digits"]]


def senet(*words: str, stdout: object = subprocess.PIPE, stderr: object = subprocess.PIPE, encoding: str = "utf-8") -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "senet", *words],
        stdout=stdout,  # pyright: ignore[reportArgumentType]
        stderr=stderr,  # pyright: ignore[reportArgumentType]
        env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
        check=False,
        timeout=120,
    )
    return done.returncode, (done.stdout or b"").decode(encoding), (done.stderr or b"").decode(encoding)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_nobody_has_to_read_to_the_end(words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert senet(*words, stdout=writer)[::2] == (0, "")
        assert senet(*words, stdout=writer, stderr=writer)[0] == 0
    finally:
        os.close(writer)


def test_an_error_that_nobody_reads_is_an_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert senet("train", "nothing", stderr=writer)[0] == 2
    finally:
        os.close(writer)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_output_that_cannot_be_written_is_one_line(words: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        code, _, err = senet(*words, stdout=full)
    assert (code, err.count("\n")) == (1, 1)
    assert err.startswith("senet")
    assert "No space left on device" in err


def test_closed_streams_are_none_of_the_commands_business() -> None:
    closed = f"exec {sys.executable} -m senet recipes show digits >&- 2>&-"
    assert subprocess.run(["sh", "-c", closed], check=False, timeout=120).returncode == 0


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_text_can_be_printed_in_any_encoding(encoding: str, tmp_path: Path) -> None:
    name = os.fsdecode(b"f\xc3\xa4 \xe7\x8c\xab \xff.yaml")
    recipe = tmp_path / name
    recipe.write_text("about: Kätzchen 猫\nseed: 1\n", encoding="utf-8")
    code, out, err = senet("recipes", "show", str(recipe), encoding=encoding)
    assert (code, err) == (0, "")
    assert ("猫" if encoding == "utf-8" else "\\u732b") in out
    code, out, err = senet("train", str(tmp_path / "猫\udcff.yaml"), encoding=encoding)
    assert (code, out, err.count("\n")) == (2, "", 1)
