"""Text from elsewhere (names of classes, files, runs) made fit for one line of a terminal, a table or a message."""

MESSAGE = 2000
"""Characters of a message that are shown: more than any list of what is allowed has, fewer than fill a screen of garbage."""


def printable(text: object, limit: int | None = 200) -> str:
    r"""Return text in one line without a control character; longer text is cut and ends with "...", unless `limit` is None.

    Characters that Unicode does not call printable (controls, marks of direction, surrogates, separators but the space) are spelled as
    Python escapes them (`\x1b`, `\u202e`), so that no name can move the cursor, colour or hide what a terminal shows.
    """
    if limit is None:
        return _escaped(str(text))
    shown = _escaped(str(text)[: limit + 1])
    return shown if len(shown) <= limit else shown[: max(limit - 3, 0)] + "..."


def printable_lines(text: object) -> str:
    """Return text of any length, its lines kept, in which nothing else moves the cursor, colours or hides."""
    return "\n".join(map(_escaped, str(text).split("\n")))


def message_line(text: object) -> str:
    """Return a message in one printable line; of a very long one the beginning and the end, where what to do is said."""
    line = _escaped(" ".join(str(text).split()))
    return line if len(line) <= MESSAGE else f"{line[: MESSAGE * 3 // 4]} ... {line[-MESSAGE // 4 :]}"


def _escaped(text: str) -> str:
    return text if text.isprintable() else "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
