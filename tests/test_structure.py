"""Imports point one way, the facade is lazy, and no module hides a public function."""

import ast
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

import senet
from senet.cli.main import COMMANDS

ROOT = Path(senet.__file__).parent
ORDER = (
    *(
        "text",
        "jsontext",
        "streams",
        "terminal",
        "errors",
        "file_kind",
        "schema",
        "unit_values",
        "atomic",
        "locks",
        "checksum",
        "web",
        "userfile",
        "devices",
    ),
    *("spec", "recipe", "ops", "blocks", "surgery", "weights", "insertion", "models"),
    *("measuring", "profiling", "analysis", "deploy", "compression", "benchmarking", "data", "results", "tasks"),
    *("training", "report", "comparison", "publishing", "cli", "__main__"),
)
"""From the lowest rank to the highest: a package imports from those before it and from itself."""
RANK = {name: rank for rank, name in enumerate(ORDER)}
OUTSIDE = {
    "av": {"data"},
    "faster_coco_eval": {"tasks"},
    "huggingface_hub": {"weights"},
    "lightning_fabric": {"training"},
    "matplotlib": set(),
    "nibabel": {"data"},
    "onnx": {"deploy"},
    "onnxruntime": {"deploy", "benchmarking"},
    "openvino": {"benchmarking"},
    "pycocotools": set(),
    "pytorchcv": {"benchmarking"},
    "ray": {"comparison"},
    "torch_pruning": {"compression"},
    "ultralytics": set(),
}

SAME_IN_SEVERAL = {
    "VARIANTS": "a family's networks",
    "STEM_WIDTH": "channels of a family's stem",
    "URL": "where a library released its weights",
    "create": "how a task is made of a recipe",
    "open_source": "how a source of images is opened",
    "add_arguments": "how a command declares its flags",
    "run": "how a command runs",
    "log": "the package's logger",
    "merge_moments": "merging means and centred squares: of spans, by a kernel and its launch, and of processes",
    "merge_sums": "merging sums of spans: a kernel and its launch",
    "activate_squeeze": "activating a map and squeezing it: a kernel and its call",
    "excite_join": "exciting a map and ending its unit: a kernel and its call",
}
"""Public names that several modules define -> the one concept that each implements."""


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


def wrong_imports(path: Path) -> list[str]:
    """Say which imports of a file lead upwards, or to a library that its package may not import."""
    package, wrong = package_of(path), []
    for name in sorted(imports(path)):
        top, _, rest = name.partition(".")
        home = rest.split(".")[0]
        if top == "senet" and home in RANK and RANK[home] > RANK[package]:
            wrong.append(f"{path.relative_to(ROOT)} imports {name}, which lies above it")
        if top in OUTSIDE and package not in OUTSIDE[top]:
            wrong.append(f"{path.relative_to(ROOT)} imports {name}: only {', '.join(OUTSIDE[top])} may")
    return wrong


def test_imports_point_one_way() -> None:
    assert len(RANK) == len(ORDER), "a package has two ranks"
    assert [line for path in FILES for line in wrong_imports(path)] == []


def test_every_module_has_its_place() -> None:
    assert {package_of(path) for path in FILES} <= RANK.keys()


def test_no_child_of_the_package_is_named_as_a_public_function() -> None:
    children = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert children & set(senet.__all__) == set()


def defined(path: Path) -> set[str]:
    """Return the public names of the classes, functions and values that a module defines."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    return {name for name in names if not name.startswith("_")}


def defined_in_several(paths: list[Path]) -> dict[str, list[Path]]:
    homes = defaultdict(list)
    for path in paths:
        for name in defined(path):
            homes[name].append(path)
    return {name: found for name, found in homes.items() if len(found) > 1}


def test_a_name_has_one_meaning() -> None:
    found = defined_in_several(FILES)
    assert {name: paths for name, paths in found.items() if name not in SAME_IN_SEVERAL} == {}
    assert SAME_IN_SEVERAL.keys() - found.keys() == set(), "not defined in several modules"


def test_a_second_meaning_would_be_seen(tmp_path: Path) -> None:
    first, second = tmp_path / "first.py", tmp_path / "second.py"
    first.write_text("WIDTHS, _HIDDEN = (1, 2), 3\nSTEPS: int = 1\n\ndef convert(x): ...\n")
    second.write_text("WIDTHS = ()\n_HIDDEN = 4\nSTEPS = 2\n\nclass convert: ...\n")
    assert defined_in_several([first, second]).keys() == {"WIDTHS", "STEPS", "convert"}


def test_what_is_predicted_is_known_to_tasks_alone() -> None:
    asking = {"training", "results", "comparison", "report", "publishing", "cli"}
    files = [path for path in ROOT.rglob("*") if path.suffix in (".py", ".html") and package_of(path) in asking]
    assert [path for path in files if re.search(r"top[-_]?[15]\b|Classification", path.read_text(encoding="utf-8"))] == []


def written_raw(path: Path) -> list[str]:
    """Say where a command prints text that was not made printable: by `print` of more than its own words or JSON, or by a bare console."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
        own = isinstance(node, ast.Call) and re.match(
            r"json_text\(|usage\(|self\.format_help\(", ast.unparse(node.args[0]) if node.args else ""
        )
        if (called == "print" and not own) or called in ("Console", "rich.print", "sys.stderr.write"):
            found.append(f"{path.name}: {ast.unparse(node)[:80]}")
    return found


def test_foreign_text_is_printed_by_what_makes_it_printable() -> None:
    files = [path for path in FILES if package_of(path) not in ("streams", "terminal")]
    assert [line for path in files for line in written_raw(path)] == []


def test_text_that_is_printed_as_it_is_would_be_seen(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text("print(name)\nConsole(stderr=True).print(name)\nprint(json_text(tree))\nsay(name)\n")
    assert len(written_raw(file)) == 2


def test_vague_names_are_not_used() -> None:
    vague = {"utils", "util", "helpers", "helper", "common", "misc", "base"}
    assert [path for path in FILES if path.stem in vague] == []


def test_files_stay_small() -> None:
    assert {str(path): lines for path in FILES if (lines := len(path.read_text().splitlines())) > 400} == {}


def test_every_public_name_resolves() -> None:
    homes = {name: f"senet.{home}" for name, home in senet._HOME.items()}
    assert senet.__all__ == ["__version__", *homes]
    assert {name: home for name, home in homes.items() if not getattr(senet, name).__module__.startswith(home)} == {}


def test_the_facade_lists_what_type_checkers_see() -> None:
    tree = ast.parse(Path(senet.__file__).with_suffix(".pyi").read_text())
    seen = {alias.name: node.module for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen == {name: f"senet.{home}" for name, home in senet._HOME.items()}


def test_unknown_names_are_missing() -> None:
    assert not hasattr(senet, "create_modle")


VERB_AND_OBJECT = re.compile(r"\w+ (a|an|the|every|each|all|what|how|whether|its|one|several)\b")
CLAUSE = re.compile(r"(What|How|Where|Who|Why|Whether|Which)\b")


def wrong_docstrings(path: Path) -> list[str]:
    """Say which classes are not described by a noun phrase, and which functions not by an imperative."""
    wrong = []
    for node in ast.walk(ast.parse(path.read_text())):
        text = (ast.get_docstring(node) or "") if isinstance(node, ast.ClassDef | ast.FunctionDef) else ""
        is_class = isinstance(node, ast.ClassDef)
        is_value = isinstance(node, ast.FunctionDef) and any("property" in ast.unparse(entry) for entry in node.decorator_list)
        if (CLAUSE.match(text) and not is_value) or (is_class and VERB_AND_OBJECT.match(text)):
            wrong.append(f"{path.name}: {text.splitlines()[0]}")
    return wrong


def test_classes_are_described_by_noun_phrases_and_functions_by_imperatives() -> None:
    assert [line for path in FILES for line in wrong_docstrings(path)] == []


@pytest.mark.parametrize(
    ("kind", "text", "wrong"),
    [
        ("class", "Hold a map.", True),
        ("class", "What was found.", True),
        ("class", "Map of gates.", False),
        ("def", "Hold a map.", False),
        ("def", "Whether a map is held.", True),
        ("@property\ndef", "Whether a map is held.", False),
    ],
)
def test_a_docstring_of_the_other_kind_would_be_seen(kind: str, text: str, wrong: bool, tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text(f'{kind} name{"(x)" if "def" in kind else ""}:\n    """{text}"""\n')
    assert bool(wrong_docstrings(file)) is wrong


LIGHT = """
import sys

def loaded(words):
    return [f"{words} loads {name}" for name in heavy if name in sys.modules]

heavy = ("torch", "huggingface_hub", "lightning_fabric", "torchvision", "numpy", "matplotlib", "sklearn")
import senet
wrong = loaded("import senet")
from senet.cli.main import COMMANDS, main
for words in (["--help"], *([command, "--help"] for command in COMMANDS)):
    try:
        main(words)
    except SystemExit:
        pass
    wrong += loaded(" ".join(words))
sys.exit("\\n".join(wrong) or 0)
"""


def test_help_loads_neither_torch_nor_fabric() -> None:
    result = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert all(f"usage: senet {command}" in result.stdout for command in COMMANDS), result.stdout
