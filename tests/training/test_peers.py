"""What processes that lost the others say, after how long, and how their run goes on."""

from datetime import timedelta
from pathlib import Path

import pytest
import torch

from senet.errors import UsageError
from senet.results.run_folder import RunFolder
from senet.training.launch import PEERS_GONE, resume_command
from senet.training.peers import TIMEOUT_VARIABLE, PeerLostError, peer_timeout, peers_named

GLOO = (
    "[/__w/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:561] Connection closed by peer [127.0.0.1]:48044. "
    "This is typically caused by a remote worker crashing. Check the logs of the remote worker"
)
SILENT = "[/pytorch/third_party/gloo/gloo/transport/tcp/unbound_buffer.cc:78] Timed out waiting 6000ms for recv operation to complete"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """Return a run that was saved, of two processes of which this is the second."""
    monkeypatch.chdir(tmp_path)
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    run = RunFolder(Path("run"))
    run.path.mkdir()
    run.checkpoint.touch()
    return run


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError(GLOO), "Connection closed by peer [127.0.0.1]:48044"),
        (RuntimeError(SILENT), "Timed out waiting 6000ms for recv operation to complete"),
        (torch.distributed.DistStoreError("wait timeout after 9000ms"), "wait timeout after 9000ms"),
    ],
)
def test_the_line_has_the_reason_and_the_command(run: RunFolder, error: RuntimeError, reason: str) -> None:
    with pytest.raises(PeerLostError) as raised, peers_named(run):
        raise error
    assert str(raised.value) == f"process 1 lost the others ({reason}); go on with `senet train --resume run --devices 2`"
    assert raised.value.exit_code == PEERS_GONE


def test_nothing_saved_is_begun_again(run: RunFolder) -> None:
    run.checkpoint.unlink()
    with pytest.raises(PeerLostError, match="nothing has been saved yet, begin again"), peers_named(run):
        raise RuntimeError(GLOO)


def test_other_errors_stay_what_they_are(run: RunFolder) -> None:
    with pytest.raises(RuntimeError, match=r"^shapes differ$"), peers_named(run):
        raise RuntimeError("shapes differ")


def test_the_command_names_the_processes(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "6")
    assert resume_command(run) == "senet train --resume run --devices 2 --nodes 3 --rdzv-endpoint HOST:PORT"
    monkeypatch.delenv("WORLD_SIZE")
    assert resume_command(run) == "senet train --resume run"


def test_the_wait_is_half_an_hour_or_what_the_variable_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TIMEOUT_VARIABLE, raising=False)
    assert peer_timeout() == timedelta(minutes=30)
    monkeypatch.setenv(TIMEOUT_VARIABLE, "90")
    assert peer_timeout() == timedelta(seconds=90)


@pytest.mark.parametrize("said", ["", "0", "-3", "nan", "inf", "a minute"])
def test_a_wait_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv(TIMEOUT_VARIABLE, said)
    with pytest.raises(UsageError, match="SENET_PEER_TIMEOUT must be a number of seconds, 1 or more, got"):
        peer_timeout()
