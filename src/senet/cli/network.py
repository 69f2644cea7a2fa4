"""What a command's word for a network means: a name of `senet models`, or weights that say which network they fit."""

from pathlib import Path

from senet.file_kind import file_kind


def names_weights(text: str) -> bool:
    """Return whether text can be a source of weights: LIBRARY:FILE, hf:USER/REPO, a path, or a file or folder that is there."""
    return ":" in text or "/" in text or Path(text).suffix != "" or file_kind(text) is not None
