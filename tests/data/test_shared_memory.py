"""Workers are as many as shared memory holds batches for."""

import logging
from pathlib import Path

import pytest

from senet.data.loaders import eval_loader, train_loader
from senet.data.shared_memory import SharedMemory, fitting_workers, shared_memory
from senet.data.source import open_data
from senet.data.views import Views
from senet.errors import UsageError
from senet.recipe import DataRecipe

MB = 10**6


def have(monkeypatch: pytest.MonkeyPatch, free: int | None) -> None:
    """Let the machine have so many bytes of shared memory."""
    memory = None if free is None else SharedMemory(64 * MB, free)
    monkeypatch.setattr("senet.data.shared_memory.shared_memory", lambda: memory)


@pytest.mark.parametrize(("free", "workers"), [(100, 9), (70, 3), (50, 2), (49, 1), (30, 1), (29, 0), (0, 0), (None, 9)])
@pytest.mark.parametrize("processes", [1, 2])
def test_two_batches_a_worker_and_one_in_use_have_to_fit(
    monkeypatch: pytest.MonkeyPatch, free: int | None, workers: int, processes: int, caplog: pytest.LogCaptureFixture
) -> None:
    have(monkeypatch, None if free is None else free * MB * processes)
    wanted = 4 if free == 100 else workers if free is None else 3
    got = fitting_workers(wanted, 10 * MB, asked_for=False, processes=processes)
    assert got == min(wanted, workers)
    assert bool(caplog.records) == (got < wanted)


def test_fewer_workers_are_said_aloud(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    have(monkeypatch, 50 * MB)
    with caplog.at_level(logging.WARNING):
        fitting_workers(8, 10 * MB, asked_for=False)
    assert caplog.messages == [
        "8 loader processes need 170 MB of shared memory, and /dev/shm has 50 MB free: loading with 2; "
        "more shared memory makes it faster (docker run --shm-size 8g)"
    ]


@pytest.mark.parametrize(
    ("free", "remedy"), [(50, r"at most 2 fit: set data\.workers 2$"), (20, r"without worker processes \(--data\.workers 0\)")]
)
def test_workers_asked_for_that_do_not_fit_are_refused(monkeypatch: pytest.MonkeyPatch, free: int, remedy: str) -> None:
    have(monkeypatch, free * MB)
    with pytest.raises(UsageError, match=f"^data.workers 8: 8 loader processes need 170 MB of shared memory.*{free} MB free; .*{remedy}"):
        fitting_workers(8, 10 * MB, asked_for=True)


def test_no_workers_need_none(monkeypatch: pytest.MonkeyPatch) -> None:
    have(monkeypatch, 0)
    assert fitting_workers(0, 10**12, asked_for=True) == 0


def test_loaders_count_what_their_batches_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of digits is 64 float32 an image; of 1,437 there are 359 for validation; ten crops are ten times as much."""
    recipe = DataRecipe(batch_size=100, eval_batch_size=50, workers=1)
    source, asked = open_data(recipe), []
    monkeypatch.setattr("senet.data.loaders.fitting_workers", lambda workers, batch, **options: asked.append((batch, options)) or 0)
    train_loader(source, recipe, seed=0)
    train_loader(source, recipe, seed=0, world=2)
    eval_loader(source, recipe)
    eval_loader(source, recipe, views=Views("ten", scales=(9, 10)))
    eval_loader(source, DataRecipe(eval_batch_size=100_000))
    assert [batch for batch, _ in asked] == [25_600, 12_800, 12_800, 256_000, 256 * len(source.val)]
    assert [options for _, options in asked[::2]] == [
        {"asked_for": True, "processes": 1},
        {"asked_for": True, "processes": 1},
        {"asked_for": False, "processes": 1},
    ]


def test_a_machine_that_does_not_tell_has_any_number(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("senet.data.shared_memory.FOLDER", tmp_path / "none")
    assert shared_memory() is None
    monkeypatch.setattr("senet.data.shared_memory.FOLDER", tmp_path)
    memory = shared_memory()
    assert memory is not None
    assert 0 < memory.free <= memory.total
