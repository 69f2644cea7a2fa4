"""The page on weights: its examples run, and it names every library."""

import re
from pathlib import Path

import pytest

from senet.weights.releases.libraries import PUBLISHERS

PAGE = (Path(__file__).parents[2] / "docs" / "weights.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_examples_run(example: str) -> None:
    exec(compile(example, "weights.md", "exec"), {})


@pytest.mark.parametrize("library", PUBLISHERS)
def test_every_library_is_named(library: str) -> None:
    assert re.search(rf"^\|.*`{library}`.*\|$", PAGE, re.MULTILINE)
