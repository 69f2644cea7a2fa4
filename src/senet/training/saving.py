"""Checkpoints that are written beside training: a thread copies the state in memory and takes it to the disk.

Weights and the optimiser's state are still until the next step changes them, which is its last act. They are copied while its forward and
backward passes run (Mohan et al., CheckFreq, FAST 2021); what these change themselves, as BatchNorm's statistics, is copied at once. A
user's network may change weights in its forward pass: what a step has not been seen to leave alone is copied at once, too.
"""

import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from copy import copy, deepcopy
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from senet.results.run_folder import RunFolder
from senet.text import message_line
from senet.training.checkpoint import write_checkpoint

log = logging.getLogger("senet")

Pair = tuple[Tensor, Tensor]
"""Copy that is to be made, and what of."""

IMMUTABLE = (int, float, bool, str, type(None))


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
        self._watched: list[tuple[Tensor, int]] = []
        self._left_alone: set[int] = set()
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._on_the_way: _OnTheWay | None = None

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

    def begin(self, run: RunFolder, state: dict[str, Any], still: Iterable[Tensor] = ()) -> None:
        """Begin to copy and write tensors and plain data as they are now; the checkpoint before is waited for.

        Args:
            run: where to.
            state: what is written.
            still: those of its tensors that nothing is to change before `settle`. They are copied beside training if they were among
                these the last time, and nothing had changed them by then.

        Raises:
            FolderLostError, NotWrittenError: of the checkpoint before.
        """
        self.finish()
        self._watched = [(tensor, tensor._version) for tensor in still]
        pairs = list[Pair]()
        copied = self._copied(state, pairs)
        beside = self._left_alone & {tensor.data_ptr() for tensor, _ in self._watched}
        _copy([pair for pair in pairs if pair[1].data_ptr() not in beside], non_blocking=self._stream is not None)
        later = [pair for pair in pairs if pair[1].data_ptr() in beside]
        begun = None if self._stream is None else torch.cuda.current_stream(self._device).record_event()
        thread = ThreadPoolExecutor(1, "checkpoint")
        made = thread.submit(self._bring, later, begun)
        self._on_the_way = _OnTheWay(thread, made, thread.submit(_write, run, copied, made))

    def settle(self) -> None:
        """Wait until tensors that were said to be still may change: they have been copied."""
        if self._on_the_way is not None:
            wait([self._on_the_way.copied])
        if self._watched:
            self._left_alone = {tensor.data_ptr() for tensor, version in self._watched if tensor._version == version}
            self._watched = []

    def _copied(self, value: Any, pairs: list[Pair], *place: Any) -> Any:
        """Return a copy that nothing changes any more, when its tensors are copied, too.

        Args:
            value: what is copied.
            pairs: gets its tensors, each behind the memory of the host that the one of this place had last time.
            *place: the keys and numbers that lead to the value.
        """
        if isinstance(value, Tensor):
            kept = self._kept.get(place)
            if kept is None or (kept.shape, kept.dtype, kept.stride()) != (value.shape, value.dtype, value.stride()):
                kept = torch.empty_like(value, device="cpu", pin_memory=value.is_cuda)
                self._kept[place] = kept
            pairs.append((kept, value.detach()))
            return kept
        if isinstance(value, dict):
            found = copy(value)  # of its type, with what else it carries
            found.update((name, self._copied(part, pairs, *place, name)) for name, part in value.items())
            return found
        if type(value) in (list, tuple):
            return type(value)(self._copied(part, pairs, *place, number) for number, part in enumerate(value))
        return value if type(value) in IMMUTABLE else deepcopy(value)

    def _bring(self, later: Sequence[Pair], begun: torch.Event | None) -> None:
        """Make the copies that are left; of a CUDA device, wait until all have arrived."""
        if self._stream is None or begun is None:
            _copy(later)
            return
        with torch.cuda.stream(self._stream):
            self._stream.wait_event(begun)
            _copy(later, non_blocking=True)
        self._stream.synchronize()

    def check(self) -> None:
        """Raise what has gone wrong by now, as `finish` does; nothing is waited for."""
        if self._on_the_way is not None and self._on_the_way.written.done():
            self.finish()

    def finish(self) -> None:
        """Wait until the checkpoint is on the disk.

        Raises:
            FolderLostError: if the run's folder was not there any more.
            NotWrittenError: if it could not be written; the checkpoints are as they were.
        """
        if self._on_the_way is None:
            return
        gone, self._on_the_way = self._on_the_way, None
        gone.thread.shutdown()
        gone.written.result()


@dataclass(frozen=True)
class _OnTheWay:
    """Checkpoint that is copied and then written by a thread."""

    thread: ThreadPoolExecutor
    copied: Future[None]
    written: Future[None]


def _copy(pairs: Sequence[Pair], *, non_blocking: bool = False) -> None:
    """Make copies, all in one call without the GIL; non-blocking, a device may still be at it."""
    if pairs:
        torch._foreach_copy_(*map(list, zip(*pairs, strict=True)), non_blocking=non_blocking)  # pyright: ignore[reportPrivateImportUsage]


def _write(run: RunFolder, state: dict[str, Any], made: Future[None]) -> None:
    made.result()
    run.check_there()
    write_checkpoint(run, state)
