"""Code that a recipe names: which, and whether it may run."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from senet.errors import UsageError
from senet.userfile import check_code, in_user_file

OPENED = ("checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")
"""Options by which another library opens files of its own kinds, some of which are programs."""


def code_of(tree: Mapping[str, Any]) -> dict[str, str]:
    """Return which fields of a recipe, given as plain data, name code, and which: {"task": "path/to/file.py:function"}."""
    sections = {name: value for name, value in tree.items() if isinstance(value, Mapping)}
    model, data = sections.get("model", {}), sections.get("data", {})
    block = model.get("block")
    kind = block.get("kind") if isinstance(block, Mapping) else block
    named = {"task": tree.get("task"), "model.name": model.get("name"), "model.block": kind, "data.name": data.get("name")}
    return {field: name for field, name in named.items() if isinstance(name, str) and in_user_file(name)}


def check_named_code(files: Sequence[tuple[Mapping[str, Any], Path | None, str]], given: Collection[str] = ()) -> None:
    """Raise UsageError if a recipe that was read names code that nobody allowed, or files for another library to open.

    Args:
        files: the fields of each of its files, the file's folder and what it is called: the file itself, then its bases.
        given: the fields that somebody set by hand, whose code is therefore meant.
    """
    said = set(given) | {"model.block" for path in given if path in ("model.block", "model.block.kind")}
    for tree, folder, what in files:
        for field, name in code_of(tree).items():
            if field not in said:
                check_code(name, folder, f"{what}: {field}")
        model = tree.get("model")
        options = model.get("options") if isinstance(model, Mapping) else None
        for option in OPENED:
            if (
                isinstance(options, Mapping)
                and option in options
                and f"model.options.{option}" not in given
                and "model.options" not in said
            ):
                raise UsageError(
                    f"{what}: model.options.{option} lets another library open a file: give it by hand, --model.options.{option}"
                )
        said |= _fields(tree)


def _fields(tree: Mapping[str, Any]) -> set[str]:
    nested = {f"{section}.{name}" for section, value in tree.items() if isinstance(value, Mapping) for name in value}
    return nested | {name for name, value in tree.items() if not isinstance(value, Mapping)}
