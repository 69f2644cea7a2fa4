"""Batches on their way from a worker process to the training process: each arrives, or the reason why it does not."""

from collections.abc import Callable, Sequence
from multiprocessing.reduction import ForkingPickler
from pickle import loads
from typing import Any, NoReturn

from torch._utils import ExceptionWrapper
from torch.utils.data import Dataset, get_worker_info

from senet.data.batch import Batch, Sample
from senet.data.shared_memory import NO_SPACE, no_space
from senet.errors import UsageError
from senet.userfile import UserFiles, with_place


class DataError(Exception):
    """Data that a run cannot go on with."""

    exit_code = 1


class WorkerError(DataError):
    """Worker processes that do not give the next batch."""


class Parcel:
    """Batch ready to be sent, which is a batch again where it arrives.

    A queue of Python's pickles what it sends in a thread of its own, and what fails there is printed and lost, while the other side waits.
    Here it fails where the batch is made.

    Args:
        batch: what to send; its tensors move to shared memory.
    """

    def __init__(self, batch: Batch) -> None:
        self._pickled = bytes(ForkingPickler.dumps(batch))

    def __reduce__(self) -> tuple[Any, ...]:
        return loads, (self._pickled,)


class Undelivered(ExceptionWrapper):
    """Error that takes the place of a batch; the loader raises it where the batch is awaited.

    Args:
        error: what happened in the worker.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__((type(error), error, error.__traceback__))
        self._kind = next((kind for kind in (UsageError, DataError) if isinstance(error, kind)), WorkerError)
        self._line = _reason(error)

    def reraise(self) -> NoReturn:
        """Raise UsageError or DataError if that is what happened, else WorkerError, with the reason in one line."""
        raise self._kind(self._line) from RuntimeError(self.exc_msg)


class Batches(Dataset[Batch]):
    """Batches by the keys of their samples.

    Processes that are started anew, not forked, first run the user's files that this process has run.

    Args:
        samples: gives a sample by its key.
        collate: joins samples.
    """

    def __init__(self, samples: Dataset[Sample], collate: Callable[[Sequence[Sample]], Batch]) -> None:
        self.samples, self.collate = samples, collate

    def __getitem__(self, keys: Sequence[Any]) -> Any:
        """Return the batch; in a worker, what is sent in its place."""
        if get_worker_info() is None:
            return self._batch(keys)
        try:
            return Parcel(self._batch(keys))
        except Exception as error:
            return Undelivered(error)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpacked, (UserFiles(), self.samples, self.collate)

    def _batch(self, keys: Sequence[Any]) -> Batch:
        batch: Any = self.collate([self.samples[key] for key in keys])
        if not isinstance(batch, Batch):
            raise UsageError(f"collate must return a senet.data.batch.Batch, got {type(batch).__name__}")
        return batch


def _unpacked(files: Any, samples: Dataset[Sample], collate: Callable[[Sequence[Sample]], Batch]) -> Batches:
    return Batches(samples, collate)


def _reason(error: Exception) -> str:
    if NO_SPACE in str(error):
        return no_space()
    described = str(error) if isinstance(error, UsageError | DataError) else f"{type(error).__name__}: {error}"
    return " ".join(with_place(described, error).split())
