"""Ends of processes after which others that start anew would get further."""

import signal

import pytest

from senet.training.agent import can_go_on
from senet.training.launch import PEERS_GONE

KILLED, TOLD, SAVED = -signal.SIGKILL, -signal.SIGTERM, 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ([KILLED], True),
        ([-signal.SIGSEGV, TOLD], True),
        ([KILLED, PEERS_GONE], True),
        ([PEERS_GONE, SAVED], True),
        ([1], False),
        ([2, TOLD], False),
        ([PEERS_GONE, 1], False),  # the other has said what happened
        ([TOLD], False),
        ([128 + signal.SIGUSR1, TOLD], False),
        ([-signal.SIGINT, PEERS_GONE], False),
    ],
)
def test_killed_and_lost_processes_start_anew_and_no_others(codes: list[int], expected: bool) -> None:
    assert can_go_on(codes) is expected
