"""Checkpoints that are written beside training: a step waits for a copy of the state in memory, and a thread takes it to the disk."""

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

import torch
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions

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
        is_cuda = device.type == "cuda"
        options = StagingOptions(use_pinned_memory=is_cuda, use_shared_memory=False, use_async_staging=False, use_non_blocking_copy=is_cuda)
        self._stager = DefaultStager(options)  # keeps its copies for the next time
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
            self._stager.close()

    def begin(self, run: RunFolder, state: dict[str, Any]) -> None:
        """Copy tensors and plain data as they are now, and begin to write them; the checkpoint before is waited for.

        Raises:
            FolderLostError, NotWrittenError: of the checkpoint before.
        """
        self.finish()
        copied = self._stager.stage(state)
        thread = ThreadPoolExecutor(1, "checkpoint")
        self._on_the_way = thread, thread.submit(_write, run, copied)  # pyright: ignore[reportArgumentType] - no Future, without a thread of the stager's

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
