"""Build the C++ operators on first use, once for each machine's folder of torch extensions."""

import hashlib
import logging
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from subprocess import CalledProcessError
from time import perf_counter

import torch

from senet.ops.passes.cpp.kernels import CppKernels
from senet.ops.passes.cpp.operators import register_fakes

CPP_FILES = tuple(sorted(Path(__file__).parent.glob("*.cpp")))
HEADERS = tuple(sorted(Path(__file__).parent.glob("*.h")))
VECTOR_FLAGS = ("-mfma", "-mf16c")
CAPABILITY_FLAGS = {
    "AVX512": ("-DCPU_CAPABILITY=AVX512", "-DCPU_CAPABILITY_AVX512", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", *VECTOR_FLAGS),
    "AVX2": ("-DCPU_CAPABILITY=AVX2", "-DCPU_CAPABILITY_AVX2", "-mavx2", *VECTOR_FLAGS),
}
"""What torch finds this processor capable of -> the flags by which its vectors are compiled so; others take torch's portable vectors."""
FLAGS = ("-O3", "-fno-math-errno", "-fno-trapping-math", *(("-fopenmp",) if sys.platform == "linux" else ()))
"""Threads are torch's OpenMP; other systems name the flag otherwise, or have none, and the passes then run in one thread."""

log = logging.getLogger("senet")


@cache
def kernels() -> tuple[CppKernels | None, str]:
    """Return the passes, built if they are not yet; or None and why, in one line."""
    flags = (*FLAGS, *CAPABILITY_FLAGS.get(torch.backends.cpu.get_cpu_capability(), ()))
    try:
        library = _folder() / f"senet_cpp_{_key(flags)}" / "senet_cpp.so"
        if library.exists():
            torch.ops.load_library(library)
        else:
            _build(library, flags)
    except (OSError, RuntimeError, CalledProcessError) as error:
        return None, _reason(error)
    register_fakes()
    return CppKernels(), ""


def _folder() -> Path:
    """Return where torch keeps what it builds."""
    cache_home = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.environ.get("TORCH_EXTENSIONS_DIR", Path(cache_home, "torch_extensions"))).expanduser()


def _key(flags: tuple[str, ...]) -> str:
    """Return a digest of all that the library depends on."""
    files = (part for path in (*CPP_FILES, *HEADERS) for part in (path.name, path.read_text(encoding="utf-8")))
    parts = (*files, torch.__version__, platform.machine(), sys.version, os.environ.get("CXX", ""), *flags)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _build(library: Path, flags: tuple[str, ...]) -> None:
    """Compile and load the operators, then copy them to their place in one step: who finds them there finds all of them.

    Processes that build at once wait for each other in `load`, and the later ones find nothing to do.
    """
    folder = library.parent
    folder.mkdir(parents=True, exist_ok=True)
    log.info("building the C++ operators for CPUs in %s: half a minute, once", folder)
    began = perf_counter()
    with _scripts_on_path():
        _require(os.environ.get("CXX", "c++"), "a C++ compiler, such as g++")
        _require("ninja", "pip install ninja")
        from torch.utils import cpp_extension

        sources = [str(path) for path in CPP_FILES]
        cpp_extension.load("built", sources, extra_cflags=list(flags), build_directory=str(folder), is_python_module=False)
    mine = folder / f"{os.getpid()}.so"
    shutil.copyfile(folder / "built.so", mine)
    mine.replace(library)
    log.info("built them in %.0f s", perf_counter() - began)


@contextmanager
def _scripts_on_path() -> Iterator[None]:
    """Let ninja be found where pip puts it, beside the interpreter, which need not be on PATH."""
    before = os.environ.get("PATH", "")
    os.environ["PATH"] = os.pathsep.join((before, str(Path(sys.executable).parent)))
    try:
        yield
    finally:
        os.environ["PATH"] = before


def _require(tool: str, remedy: str) -> None:
    if shutil.which(tool) is None:
        raise FileNotFoundError(f"{tool} is not found ({remedy})")


def _reason(error: Exception) -> str:
    """Return the line of a message that tells most: a compiler's first error, or else the first line."""
    lines = str(error).splitlines() or [repr(error)]
    telling = (line for line in lines if "error:" in line)
    return " ".join(next(telling, lines[0]).split())
