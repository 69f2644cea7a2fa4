"""Checkpoints that are written beside training: a step waits for a copy of the state in memory, and a thread takes it to the disk."""

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy, deepcopy
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from senet.results.run_folder import RunFolder
from senet.text import message_line
from senet.training.checkpoint import write_checkpoint

log = logging.getLogger("senet")


class CheckpointWriter:
    """Writer of one checkpoint at a time, which is waited for at the end of a `with` block.

    There is a thread only while one is on its way to the disk. What goes wrong there is raised by whichever call comes next; at the end of
    a block that has failed by itself, it is logged.

    Args:
        device: where the state is; of a CUDA device it is copied to pinned memory.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._kept: dict[tuple[Any, ...], Tensor] = {}
        self._on_the_way: tuple[ThreadPoolExecutor, Future[None]] | None = None

    def __enter__(self) -> "CheckpointWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.finish()
        except Exception as own:
            if error is None:
                raise
            log.error("%s", message_line(str(own)))
        finally:
            self._kept.clear()

    def begin(self, run: RunFolder, state: dict[str, Any]) -> None:
        """Copy tensors and plain data as they are now, and begin to write them; the checkpoint before is waited for.

        Raises:
            FolderLostError, NotWrittenError: of the checkpoint before.
        """
        self.finish()
        copied = self._copied(state)
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        thread = ThreadPoolExecutor(1, "checkpoint")
        self._on_the_way = thread, thread.submit(_write, run, copied)

    def _copied(self, value: Any, *place: Any) -> Any:
        """Return a copy that nothing changes any more; tensors go to the memory of the host that the one of this place had last time."""
        if isinstance(value, Tensor):
            kept = self._kept.get(place)
            if kept is None or (kept.shape, kept.dtype, kept.stride()) != (value.shape, value.dtype, value.stride()):
                kept = torch.empty_like(value, device="cpu", pin_memory=value.is_cuda)
                self._kept[place] = kept
            return kept.copy_(value, non_blocking=value.is_cuda)
        if isinstance(value, dict):
            found = copy(value)  # of its type, with what else it carries
            found.update((name, self._copied(part, *place, name)) for name, part in value.items())
            return found
        if type(value) in (list, tuple):
            return type(value)(self._copied(part, *place, number) for number, part in enumerate(value))
        return deepcopy(value)

    def check(self) -> None:
        """Raise what has gone wrong by now, as `finish` does; nothing is waited for."""
        if self._on_the_way is not None and self._on_the_way[1].done():
            self.finish()

    def finish(self) -> None:
        """Wait until the checkpoint is on the disk.

        Raises:
            FolderLostError: if the run's folder was not there any more.
            NotWrittenError: if it could not be written; the checkpoints are as they were.
        """
        if self._on_the_way is None:
            return
        thread, written = self._on_the_way
        thread.shutdown()
        self._on_the_way = None
        written.result()


def _write(run: RunFolder, state: dict[str, Any]) -> None:
    run.check_there()
    write_checkpoint(run, state)
