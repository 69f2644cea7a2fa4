"""A library in the cache is loaded if it is whole, and built anew if not; whoever builds, dies or hangs, nobody waits for ever."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from process_ends import assert_all_end
from senet.ops.passes.cpp import build
from senet.ops.passes.cpp.cache import KEPT, cache_folder, keep_library, sole_builder, whole_library


def damaged_in(folder: Path, how: str) -> Path:
    """Put a library in a folder and damage it."""
    built = folder / "built.so"
    built.write_bytes(bytes(range(256)) * 64)
    kept = keep_library(built, folder)
    assert whole_library(folder) == kept
    data = bytearray(kept.read_bytes())
    kept.unlink()
    if how == "a folder":
        kept.mkdir()
    elif how == "a link to nothing":
        kept.symlink_to(folder / "nothing")
    else:
        data[5000] ^= how == "a flipped bit"
        kept.write_bytes({"empty": b"", "cut short": bytes(data[:-1]), "longer": bytes(data) + b"\0"}.get(how, bytes(data)))
    return kept


@pytest.mark.parametrize("how", ["empty", "cut short", "longer", "a flipped bit", "a folder", "a link to nothing"])
def test_a_damaged_library_is_none_and_another_beside_it_is_found(tmp_path: Path, how: str) -> None:
    damaged_in(tmp_path, how)
    assert whole_library(tmp_path) is None
    (tmp_path / "other").write_bytes(b"other")
    kept = keep_library(tmp_path / "other", tmp_path)
    assert whole_library(tmp_path) == kept
    assert kept.read_bytes() == b"other"
    assert [path.name for path in tmp_path.glob(KEPT) if path.is_file()] == [kept.name]


def test_no_folder_no_library(tmp_path: Path) -> None:
    assert whole_library(tmp_path / "none") is None


def test_what_killed_builders_left_is_removed_by_the_next(tmp_path: Path) -> None:
    def killed() -> None:
        with sole_builder(tmp_path, 60) as place:
            (place / "half.o").write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)

    process = multiprocessing.get_context("fork").Process(target=killed)
    process.start()
    process.join(60)
    assert list(tmp_path.glob("build-*/half.o"))
    began = time.monotonic()
    with sole_builder(tmp_path, 60) as place:
        assert list(tmp_path.glob("build-*")) == [place]
    assert time.monotonic() - began < 30  # the lock of a builder that lives is waited for twice as long
    assert not list(tmp_path.glob("build-*"))


def test_a_builder_that_does_not_end_is_not_waited_for(tmp_path: Path) -> None:
    with (
        sole_builder(tmp_path, 60),
        pytest.raises(TimeoutError, match=r"another process has been building in .* for 0 s"),
        sole_builder(tmp_path, 0.1),
    ):
        pass


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that says what the compiler does, which is a program of a test's own; it answers what torch asks of one."""
    path = tmp_path / "own-c++"
    monkeypatch.setenv("CXX", str(path))
    answers = f'case "$1" in -*version) exec {shutil.which("c++")} "$@";; esac'

    def does(what: str) -> None:
        path.write_text(f"#!/bin/sh\n{answers}\n{what}\n")
        path.chmod(0o755)

    does("exit 1")
    return does


def test_a_compiler_that_hangs_is_ended_with_all_that_it_began(
    compiler: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler(f"echo $$ >> {tmp_path}/pids; exec sleep 600")
    monkeypatch.setattr(build, "BUILD_SECONDS", 0.5)  # until it hangs
    began = time.monotonic()

    def begun(*args, **options):
        process = real(*args, **options)
        while not (tmp_path / "pids").exists() and time.monotonic() - began < 60:
            time.sleep(0.05)
        return process

    real = build.Popen
    monkeypatch.setattr(build, "Popen", begun)
    with pytest.raises(TimeoutError, match="the compiler has not ended in 0 s"):
        build._compile(tmp_path, build.FLAGS)
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert_all_end(pids)


@pytest.mark.parametrize("number", build.NO_PLACE)
def test_a_cache_that_takes_nothing_names_the_remedy(number: int) -> None:
    reason = build._reason(OSError(number, os.strerror(number)))
    assert reason == f"{os.strerror(number)}: {cache_folder()}; TORCH_EXTENSIONS_DIR names another folder to build them in"


HEALED = """
import shutil, sys
from pathlib import Path
from senet.ops.passes.cpp import build
whole, compiled = Path(sys.argv[1]), []

def copied(place, flags):
    compiled.append(place)
    shutil.copyfile(whole, place / "built.so")

build._compile = copied
from senet.ops.backend import fastest
print(fastest("cpu").name, len(compiled))
"""


def own_library() -> Path:
    """Return this machine's library, or skip."""
    kernels, reason = build.kernels()
    if kernels is None:
        pytest.skip(f"the C++ operators cannot run here: {reason}")
    library = whole_library(build._folder(build._flags()))  # beside it may lie those of other versions of torch
    assert library is not None
    return library


@pytest.mark.parametrize("content", ["cut short", "of another machine"])
def test_what_cannot_be_loaded_is_built_anew(tmp_path: Path, content: str) -> None:
    library = own_library()
    folder = tmp_path / library.parent.name
    folder.mkdir()
    data = library.read_bytes()
    if content == "cut short":
        (folder / library.name).write_bytes(data[: len(data) // 2])
    else:
        (tmp_path / "foreign").write_bytes(data[:18] + b"\xff\xff" + data[20:])  # the machine in an ELF header
        keep_library(tmp_path / "foreign", folder)
    environment = os.environ | {"TORCH_EXTENSIONS_DIR": str(tmp_path)}
    command = [sys.executable, "-c", HEALED, str(library)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "cpp 1\n"), done.stderr
    assert [path.name for path in folder.glob(KEPT)] == [library.name]
    assert whole_library(folder) is not None


@pytest.mark.slow
def test_four_processes_may_build_at_once_and_one_be_killed(tmp_path: Path) -> None:
    own_library()
    program = "from senet.ops.backend import fastest; print(fastest('cpu').name)"
    environment = os.environ | {"TORCH_EXTENSIONS_DIR": str(tmp_path)}
    five = [subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True) for _ in range(5)]
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("*/build-*/*.o")) and time.monotonic() < deadline:
        time.sleep(0.1)
    first, *others = five
    first.kill()
    first.communicate()
    assert [process.communicate()[0].strip() for process in others] == ["cpp"] * 4
    assert len(list(tmp_path.glob(f"*/{KEPT}"))) == 1
    assert not list(tmp_path.glob("*/build-*"))
