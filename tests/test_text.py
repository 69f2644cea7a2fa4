"""Tests of text made fit for one line."""

import pytest
from hypothesis import given, strategies as st

from senet.text import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Kätzchen 猫", "Kätzchen 猫"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("two\nlines\r", "two\\nlines\\r"),
        ("gpj.\u202etxt", "gpj.\\u202etxt"),
        ("caf\udce9", "caf\\udce9"),
        (3, "3"),
    ],
)
def test_only_unfit_characters_change(text: object, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters(), max_size=300))
def test_one_encodable_line_of_bounded_length(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown) <= 200
    shown.encode()


def test_long_text_says_that_it_was_cut() -> None:
    assert printable("a" * 201) == "a" * 197 + "..."
    assert printable("a" * 200) == "a" * 200
