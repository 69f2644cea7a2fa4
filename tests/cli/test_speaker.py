"""What all of several processes meet with is said once."""

import pytest

from senet.cli import speaker
from senet.errors import UsageError
from senet.training.interruption import Interrupted
from senet.training.peers import PeerLostError

MISTAKE, STOPPED, ALONE, LOST = UsageError("no"), Interrupted(15), Interrupted(15, alone=True), PeerLostError("gone")


@pytest.mark.parametrize(
    ("rank", "error", "says", "waits"),
    [
        (None, MISTAKE, True, False),
        (None, STOPPED, True, False),
        ("0", MISTAKE, True, False),
        ("1", MISTAKE, True, True),
        ("0", STOPPED, True, False),
        ("1", STOPPED, False, False),
        ("1", ALONE, True, True),
        ("0", LOST, True, True),
        ("1", LOST, True, True),
    ],
)
def test_the_first_speaks_and_others_wait_to_be_ended(
    monkeypatch: pytest.MonkeyPatch, rank: str | None, error: Exception, says: bool, waits: bool
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(speaker.time, "sleep", waited.append)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("LOCAL_RANK", rank)
    assert speaker.has_to_say(error) is says
    assert bool(waited) is waits
