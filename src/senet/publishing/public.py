"""What is published of experiments and configurations: all of it but where things lie on the user's machine."""

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from senet.file_kind import is_url
from senet.userfile import in_user_file

LOCAL = re.compile(r"(?P<library>[\w.-]+(/[\w.-]+)?:)?(?P<path>([/~]|\.{1,2}[/\\]|[A-Za-z]:[/\\]|\\\\).*)", re.DOTALL)
"""Text that is a path on some machine, perhaps behind the library that it is for: "/home/me/x", "caffe:~/x.caffemodel"."""


def public(value: Any) -> Any:
    """Return a copy of plain data in which of every path, and of the file of every function, only the last part is left."""
    if isinstance(value, Mapping):
        return {key: public(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [public(item) for item in value]
    return public_text(value) if isinstance(value, str) else value


def public_text(text: str) -> str:
    """Return text without the folders, if it is a path, a library and a path, or a function of a user's file."""
    if is_url(text):
        return text
    if in_user_file(text):
        file, _, name = text.rpartition(":")
        return f"{_last(file)}:{name}"
    match = LOCAL.fullmatch(text)
    return text if match is None else (match["library"] or "") + _last(match["path"])


def public_recipe(recipe: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return what is published of a recipe: where the images lie is left out."""
    if recipe is None:
        return None
    told = public(recipe)
    return told | {"data": told["data"] | {"root": None}} if isinstance(told.get("data"), Mapping) else told


def _last(path: str) -> str:
    return PurePath(path.replace("\\", "/")).name
