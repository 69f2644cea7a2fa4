"""What tests of blocks share."""

from collections.abc import Iterator

import pytest

from senet.spec import KINDS


@pytest.fixture
def own_kinds() -> Iterator[None]:
    """Forget the kinds that a test registers."""
    before = dict(KINDS)
    yield
    KINDS.clear()
    KINDS.update(before)
