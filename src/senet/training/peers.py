"""Processes that train as one and lose each other: one line in each of those that are left, and how the run goes on."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch

from senet.errors import UsageError
from senet.results.run_folder import RunFolder
from senet.text import message_line, printable
from senet.training.launch import PEERS_GONE, resume_command

TIMEOUT_VARIABLE, TIMEOUT = "SENET_PEER_TIMEOUT", 1800
"""Variable of the environment that says how many seconds processes wait for each other, and how many they wait unless it does."""

GLOO = re.compile(r"/gloo/\S+\] (?P<reason>.*?)(\. This is|$)", re.DOTALL)
"""How gloo says what has happened to a connection; NCCL's errors and those of the store have classes of torch's."""


class PeerLostError(Exception):
    """End, silence or disconnection of another process, without which a step cannot be taken."""

    exit_code = PEERS_GONE
    follows = True  # from what has ended the other, which has said so itself


def peer_timeout() -> timedelta:
    """Return how long processes wait for each other.

    Raises:
        UsageError: if the variable holds no number of seconds.
    """
    said = os.environ.get(TIMEOUT_VARIABLE, str(TIMEOUT))
    try:
        seconds = float(said)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds < 1e9:  # false for nan, too
        raise UsageError(f"{TIMEOUT_VARIABLE} must be a number of seconds, 1 or more, got {printable(said)!r}")
    return timedelta(seconds=seconds)


@contextmanager
def peers_named(run: RunFolder) -> Iterator[None]:
    """Say in one line, if another process is lost while the block runs, how a run goes on.

    Raises:
        PeerLostError: then; what was saved stays as it is, for the step in hand may have changed a part of the state.
    """
    try:
        yield
    except RuntimeError as error:
        if (reason := _lost(error)) is None:
            raise
        way = f"go on with `{resume_command(run)}`" if run.has_checkpoint() else "nothing has been saved yet, begin again"
        raise PeerLostError(message_line(f"process {os.environ.get('RANK', '0')} lost the others ({reason}); {way}")) from error


def _lost(error: RuntimeError) -> str | None:
    """Return what an error says of other processes; None if it is of something else."""
    if (found := GLOO.search(str(error))) is not None:
        return found["reason"]
    of_torch = torch.distributed.is_available() and isinstance(error, torch.distributed.DistError)
    return str(error) if of_torch else None
