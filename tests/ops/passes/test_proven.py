"""What is said to have run on a device is what there is: every kernel is listed, and one whose code changes has to be moved."""

import ast
import hashlib
import io
import tokenize
from pathlib import Path

import pytest

from senet.ops.passes.triton import proven

FOLDER = Path(proven.__file__).parent
LAYOUT = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)

Modules = dict[Path, str]


def sources() -> Modules:
    return {path: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.py"))}


def is_compiled(node: ast.AST) -> bool:
    """Return whether a part of a module is a function that Triton compiles."""
    return isinstance(node, ast.FunctionDef) and any("jit" in ast.unparse(entry) for entry in node.decorator_list)


def device_functions(modules: Modules) -> dict[str, tuple[ast.AST, str]]:
    """Return the functions that Triton compiles, and their code."""
    parts = ((node, text) for text in modules.values() for node in ast.parse(text).body if is_compiled(node))
    return {node.name: (node, ast.get_source_segment(text, node) or "") for node, text in parts if isinstance(node, ast.FunctionDef)}


def name_of(node: ast.expr) -> str | None:
    """Return the name of what an expression names, without that of its module."""
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", None)


def launched(modules: Modules) -> set[str | None]:
    """Return the kernels: what code of the host hands to a launch as its first argument."""
    hosts = (part for text in modules.values() for part in ast.parse(text).body if not is_compiled(part))
    calls = (node for part in hosts for node in ast.walk(part) if isinstance(node, ast.Call) and node.args)
    return {name_of(call.args[0]) for call in calls if (name_of(call.func) or "").strip("_") == "launch"} & device_functions(modules).keys()


def digest(kernel: str, modules: Modules) -> str:
    """Return the digest of a kernel's code and of what it calls, whatever its comments, docstrings and layout."""
    functions, to_do, code = device_functions(modules), [kernel], {}
    while to_do:
        name = to_do.pop()
        if name not in code:
            node, text = functions[name]
            docstring = ast.get_docstring(node, clean=False) or ""  # pyright: ignore[reportArgumentType]
            tokens = [t.string for t in tokenize.generate_tokens(io.StringIO(text).readline) if t.type not in LAYOUT]
            code[name] = " ".join(token for token in tokens if token != f'"""{docstring}"""')
            to_do += [call.func.id for call in ast.walk(node) if isinstance(call, ast.Call) and getattr(call.func, "id", None) in functions]
    return hashlib.sha256("\n".join(code[name] for name in sorted(code)).encode()).hexdigest()[:16]


def test_every_kernel_is_listed_once() -> None:
    listed = [*proven.PROVEN, *proven.CHANGED, *proven.UNPROVEN]
    assert sorted(listed) == sorted(launched(sources()))


@pytest.mark.parametrize("kernel", proven.PROVEN)
def test_what_ran_is_what_there_is(kernel: str) -> None:
    _, code = proven.PROVEN[kernel]
    assert digest(kernel, sources()) == code, f"{kernel} is not what ran on a device: run it there, or move it to CHANGED"


MODULE = '''
@triton.jit
def inner(x):
    return x + 1


@triton.jit
def kernel(x, out):
    """Say something."""
    tl.store(out, inner(x))  # and more


def run(x):
    launch(code.kernel, 1, x)
'''


@pytest.mark.parametrize(("old", "new", "same"), [("and more", "or less", True), ("Say", "Do", True), ("x + 1", "x + 2", False)])
def test_the_digest_is_that_of_the_code(old: str, new: str, same: bool) -> None:
    first, second = ({Path("module.py"): text} for text in (MODULE, MODULE.replace(old, new)))
    assert launched(first) == {"kernel"}
    assert (digest("kernel", first) == digest("kernel", second)) is same
