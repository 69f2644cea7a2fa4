"""Locks of files, which the system frees when their process ends.

A locked file stays behind, empty: whoever removed it could remove one that another process waits for, and two would then hold two files.
"""

import errno
import logging
import warnings
from pathlib import Path

from filelock import BaseFileLock

log = logging.getLogger("senet")

NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL)
"""What the system says where a file system has no locks."""


def take_lock(lock: BaseFileLock, patience: float) -> bool:
    """Take a lock, or return False where the file system has none.

    Args:
        lock: the lock; releasing one that is not held does nothing.
        patience: seconds to wait for another process; negative = as long as it takes.

    Raises:
        Timeout: if another process holds it for longer.
        OSError: if its file cannot be written.
    """
    try:
        lock.acquire(timeout=patience)
    except NotImplementedError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return False
    return True


def take_sole_lock(lock: BaseFileLock, patience: float, doing: str) -> None:
    """Take a lock as `take_lock` does, and warn where the file system has none.

    Args:
        lock: the lock.
        patience: seconds to wait for another process.
        doing: what only one process may do in the folder, such as "trains".
    """
    with warnings.catch_warnings(record=True) as remarks:  # a file that exists stands in for a lock where there is none
        warnings.simplefilter("always")
        taken = take_lock(lock, patience)
    if remarks or not taken:
        folder = str(Path(lock.lock_file).parent)
        log.warning("the file system of %r has no locks: see to it that no second process %s there", folder, doing)
