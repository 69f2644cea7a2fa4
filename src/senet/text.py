"""Text from elsewhere (names of classes, files, runs) made fit for one line of a terminal, a table or a message."""


def printable(text: object, limit: int = 200) -> str:
    r"""Return text in one line without a control character; longer text is cut and ends with "...".

    Characters that Unicode does not call printable (controls, marks of direction, surrogates, separators but the space) are spelled as
    Python escapes them (`\x1b`, `\u202e`), so that no name can move the cursor, colour or hide what a terminal shows.
    """
    shown = "".join(character if character.isprintable() else ascii(character)[1:-1] for character in str(text)[: limit + 1])
    return shown if len(shown) <= limit else shown[: max(limit - 3, 0)] + "..."
