"""Which of several processes that train as one tells the user what happened: what all of them meet with is said once on each machine."""

import os
import time

LEAD = 5.0
"""Seconds that others leave to the process that has to speak; once it has ended, launchers end them."""


def has_to_say(error: Exception) -> bool:
    """Return whether this process has to tell the user of an error; it may be ended while it waits for another that does.

    Errors with an attribute `together` are raised by all, those with `follows` come of another's, which tells more.
    """
    rank = int(os.environ.get("LOCAL_RANK", "0"))
    if getattr(error, "together", False):
        return rank == 0
    if rank or getattr(error, "follows", False):
        time.sleep(LEAD)
    return True
