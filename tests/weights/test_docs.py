"""The page on weights names every library."""

import re
from pathlib import Path

import pytest

from senet.weights.releases.libraries import PUBLISHERS

PAGE = (Path(__file__).parents[2] / "docs" / "weights.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("library", PUBLISHERS)
def test_every_library_is_named(library: str) -> None:
    assert re.search(rf"^\|.*`{library}`.*\|$", PAGE, re.MULTILINE)
