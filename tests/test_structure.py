"""Imports point one way, the facade is lazy, and no module hides a public function."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import senet

ROOT = Path(senet.__file__).parent
ORDER = (
    *("errors", "atomic", "userfile", "spec", "recipe", "ops", "blocks", "surgery", "weights", "insertion", "models"),
    *("measuring", "profiling", "analysis", "deploy", "compression", "benchmarking", "data", "results", "tasks"),
    *("training", "report", "comparison", "publishing", "cli"),
)
"""From the lowest rank to the highest: a package imports from those before it and from itself."""
RANK = {name: rank for rank, name in enumerate(ORDER)}
OUTSIDE = {
    "huggingface_hub": {"weights"},
    "lightning_fabric": {"training"},
    "matplotlib": {"report"},
    "onnx": {"deploy"},
    "onnxruntime": {"deploy", "benchmarking"},
    "openvino": {"benchmarking"},
    "pytorchcv": {"benchmarking"},
}


def imports(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names if node.module == "senet"}
    return names


def package_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


FILES = sorted(path for path in ROOT.rglob("*.py") if path.name != "__init__.py" or path.parent != ROOT)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    own = RANK[package_of(path)]
    for name in imports(path):
        top, _, rest = name.partition(".")
        home = rest.split(".")[0]
        if top == "senet" and home in RANK:
            assert RANK[home] <= own, f"{path.name} imports {name}, which lies above it"
        if top in OUTSIDE:
            assert package_of(path) in OUTSIDE[top], f"only {OUTSIDE[top]} may import {top}"


def test_every_module_has_its_place() -> None:
    assert {package_of(path) for path in FILES} <= RANK.keys()


def test_no_child_of_the_package_is_named_as_a_public_function() -> None:
    children = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert children & set(senet.__all__) == set()


def test_vague_names_are_not_used() -> None:
    vague = {"utils", "util", "helpers", "helper", "common", "misc", "base"}
    assert [path for path in FILES if path.stem in vague] == []


def test_files_stay_small() -> None:
    assert {str(path): lines for path in FILES if (lines := len(path.read_text().splitlines())) > 400} == {}


@pytest.mark.parametrize("name", [name for name in senet.__all__ if name != "__version__"])
def test_every_public_name_resolves(name: str) -> None:
    assert getattr(senet, name).__module__.startswith(f"senet.{senet._HOME[name]}")


def test_the_facade_lists_what_type_checkers_see() -> None:
    tree = ast.parse(Path(senet.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen == {name: f"senet.{home}" for name, home in senet._HOME.items()}


def test_unknown_names_are_missing() -> None:
    assert not hasattr(senet, "create_modle")


@pytest.mark.parametrize(
    "words",
    [[], ["--help"], *([command, "--help"] for command in import_module("senet.cli.main").COMMANDS)],
    ids=lambda words: " ".join(words) or "import",
)
def test_help_loads_neither_torch_nor_fabric(words: list[str]) -> None:
    run = "import senet" if not words else f"from senet.cli.main import main\ntry:\n    main({words!r})\nexcept SystemExit:\n    pass"
    heavy = "{'torch', 'huggingface_hub', 'lightning_fabric', 'torchvision', 'numpy', 'matplotlib', 'sklearn'} & set(sys.modules)"
    code = f"import sys\n{run}\nassert not {heavy}, {heavy}"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
