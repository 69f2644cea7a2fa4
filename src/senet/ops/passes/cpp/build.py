"""Build the C++ operators on first use, once for each machine's folder of torch extensions."""

import errno
import hashlib
import json
import logging
import os
import platform
import shutil
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from signal import SIGKILL
from subprocess import PIPE, STDOUT, Popen, TimeoutExpired
from threading import Lock
from time import perf_counter

import torch

from senet.ops.passes.cpp.cache import cache_folder, keep_library, sole_builder, whole_library
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

COMPILE = Path(__file__).with_name("compile.py")
BUILD_SECONDS = 900.0
"""Seconds after which a compiler, or another process that builds, is not waited for any more."""
NO_PLACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
"""What the system says of a folder that cannot be written, or has no room."""

log = logging.getLogger("senet")
_lock = Lock()


@cache
def kernels() -> tuple[CppKernels | None, str]:
    """Return the passes, built if they are not yet; or None and why, in one line."""
    with _lock:  # threads that ask at once
        return _loaded()


@cache
def _loaded() -> tuple[CppKernels | None, str]:
    flags = _flags()
    folder = _folder(flags)
    try:
        if not _load(whole_library(folder)):
            _build(folder, flags)
    except (OSError, RuntimeError) as error:
        return None, _reason(error)
    register_fakes()
    return CppKernels(), ""


def _load(library: Path | None) -> bool:
    """Load a library; return whether it could be: one that another system has built may not."""
    if library is None:
        return False
    try:
        torch.ops.load_library(library)
    except OSError as error:
        log.info("%s cannot be loaded and is built anew: %s", library, error)
        return False
    return True


def _flags() -> tuple[str, ...]:
    """Return the compiler's flags for this processor."""
    return (*FLAGS, *CAPABILITY_FLAGS.get(torch.backends.cpu.get_cpu_capability(), ()))


def _folder(flags: tuple[str, ...]) -> Path:
    """Return the library's folder, which is named by a digest of all that the library depends on."""
    files = (part for path in (*CPP_FILES, *HEADERS) for part in (path.name, path.read_text(encoding="utf-8")))
    parts = (*files, torch.__version__, platform.machine(), sys.version, os.environ.get("CXX", ""), *flags)
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    return cache_folder() / f"senet_cpp_{digest}"


def _build(folder: Path, flags: tuple[str, ...]) -> None:
    """Compile and load the operators; processes that build at once wait for each other, and the later ones find them built.

    Raises:
        OSError, RuntimeError: if that cannot be; the message says why.
    """
    with sole_builder(folder, BUILD_SECONDS) as place:
        if _load(whole_library(folder)):
            return
        log.info("building the C++ operators for CPUs in %s: half a minute, once", folder)
        began = perf_counter()
        _compile(place, flags)
        torch.ops.load_library(keep_library(place / "built.so", folder))
    log.info("built them in %.0f s", perf_counter() - began)


def _compile(place: Path, flags: tuple[str, ...]) -> None:
    path = os.pathsep.join((os.environ.get("PATH", ""), str(Path(sys.executable).parent)))  # ninja lies where pip puts it
    _require(os.environ.get("CXX", "c++"), path, "a C++ compiler, such as g++")
    _require("ninja", path, "pip install ninja")
    order = json.dumps({"files": [str(path) for path in CPP_FILES], "flags": flags, "folder": str(place)}, allow_nan=False)
    environment = os.environ | {"PATH": path, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    output = {"stdout": PIPE, "stderr": STDOUT, "text": True, "errors": "replace"}
    with Popen([sys.executable, str(COMPILE), order], env=environment, start_new_session=True, **output) as compiler:
        try:
            told, _ = compiler.communicate(timeout=BUILD_SECONDS)
        except TimeoutExpired:
            raise TimeoutError(f"the compiler has not ended in {BUILD_SECONDS:.0f} s") from None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(compiler.pid, SIGKILL)  # with all that it has begun
    if compiler.returncode:
        raise RuntimeError(told.strip() or f"the compiler ended with exit code {compiler.returncode}")


def _require(tool: str, path: str, remedy: str) -> None:
    if shutil.which(tool, path=path) is None:
        raise FileNotFoundError(f"{tool} is not found ({remedy})")


def _reason(error: Exception) -> str:
    """Return the line of a message that tells most, a compiler's first error or else the last line; and what helps where that is known."""
    if isinstance(error, OSError) and error.errno in NO_PLACE:
        return f"{error.strerror}: {cache_folder()}; TORCH_EXTENSIONS_DIR names another folder to build them in"
    lines = str(error).splitlines() or [repr(error)]
    telling = (line for line in lines if "error:" in line)
    return " ".join(next(telling, lines[-1]).split())
