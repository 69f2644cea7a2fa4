"""Names that become parts of paths: that of a run becomes its folder's."""

import re

from senet.errors import UsageError
from senet.schema import brief

LONGEST_RUN_NAME = 100
"""Characters of a run's name; the folder's has a digest, a variant and a seed beside it."""

WIDEST_RUN_NAME = 150
"""Bytes of a run's name in UTF-8, of the 255 that file systems allow."""

DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that Windows keeps for devices."""


def check_run_name(name: str) -> None:
    """Raise UsageError unless a name can be that of a run and, inside any folder, of a folder.

    It has neither separators nor control characters, begins with neither "." nor "-" (a hidden folder, a flag) nor a space, ends with
    neither "." nor a space, and is no device of Windows.
    """
    wrong = {
        "is empty": not name,
        f"has more than {LONGEST_RUN_NAME} characters": len(name) > LONGEST_RUN_NAME
        or len(name.encode(errors="replace")) > WIDEST_RUN_NAME,
        "has a separator of folders": "/" in name or "\\" in name,
        "has a character that cannot be printed": not name.isprintable(),
        f"begins with {name[:1]!r}": name[:1] in (".", "-", " "),
        f"ends with {name[-1:]!r}": name[-1:] in (".", " "),
        "is a device of Windows": DEVICES.fullmatch(name) is not None,
    }
    if said := next((what for what, found in wrong.items() if found), None):
        raise UsageError(
            f"the name of a recipe becomes that of its runs' folders, and {brief(name)} {said}: "
            "choose one such as 'digits-se' (the folder it goes into is --out)"
        )
