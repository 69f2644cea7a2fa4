"""Compile the C++ operators; run as a program of its own, which can be ended whatever it or its compiler is doing.

Its arguments are JSON: the C++ files, the compiler's flags, and the folder to compile in, which then holds built.so. The library is loaded
once, so that one that cannot be ends this program and nobody else's.
"""

import json
import sys


def compile_library() -> None:
    """Compile as the arguments say."""
    from torch.utils import cpp_extension

    order = json.loads(sys.argv[1])
    cpp_extension.load(
        "built", order["files"], extra_cflags=order["flags"], build_directory=order["folder"], is_python_module=False, verbose=False
    )


if __name__ == "__main__":
    compile_library()
