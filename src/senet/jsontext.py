"""JSON as other programs read it."""

import json
from typing import Any


def json_text(tree: Any, *, indent: int | None = 2) -> str:
    """Return plain data as standard JSON; it has no word for a number that is not finite, which becomes null."""
    return json.dumps(_finite(tree), indent=indent, allow_nan=False)


def _finite(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _finite(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_finite(value) for value in tree]
    return None if isinstance(tree, float) and not -float("inf") < tree < float("inf") else tree
