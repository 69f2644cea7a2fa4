"""What stands in a recipe's digest for trained weights: which they are, however their place is written. No torch."""

import re

from senet.file_kind import file_kind, user_path

NAMED_BY_DIGEST = re.compile(r"-[0-9a-f]{12}")
"""How the name of a run's folder ends that tells the run from all others."""


def weights_identity(text: str) -> str:
    """Return what tells weights from others: the name of a run's folder if it ends in a digest, else a file's place, else the text.

    Whether a file is what it was is for its fingerprint to say, which runs keep (origin.json). A folder need not be there yet: compressed
    runs of a comparison are named before what they begin from is trained.

    Raises:
        UsageError: if it is no path that can be.
    """
    path = user_path(text)
    there = file_kind(path) is not None
    place = path.resolve() if there else path
    if file_kind(path) in ("folder", None) and NAMED_BY_DIGEST.fullmatch(place.name[-13:]):
        return place.name
    return str(place) if there else text
