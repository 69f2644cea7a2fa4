"""Checkpoints that anything may have happened to: taken up whole, or refused in one line."""

import copy
import hashlib
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from mutation import ODD
from senet.data.loaders import CorruptLog
from senet.errors import UsageError
from senet.recipe import Recipe, ScheduleRecipe
from senet.results.metric import Metric
from senet.results.origin import origin_of
from senet.results.run_folder import RunFolder
from senet.training.checkpoint import read_checkpoint, write_checkpoint
from senet.training.checkpoint_form import check_optimizer
from senet.training.schedule import Schedule
from senet.training.state import TrainingState
from senet.training.tally import Figures
from within import within

PRIMARY = Metric("top1", "top-1", "%", accuracy=True)
CASES = [60, pytest.param(10_000, marks=pytest.mark.slow)]
SECONDS = 10.0
"""What no case may take."""

ODD_HERE = (*ODD, 3, b"x", {"a": 1}, {1: 2}, torch.ones(0), "x" * 9000)


def fresh() -> TrainingState:
    """Return the state of a run of a small network that has not begun."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    schedule = Schedule(ScheduleRecipe(name="plateau"), 0.1, steps_per_epoch=5, epochs=9)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    state = TrainingState(Fabric(accelerator="cpu", devices=1), model, optimizer, schedule, None, CorruptLog(1, 10))
    model(torch.ones(4, 3)).sum().backward()
    optimizer.step()
    return state


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Return a folder with a checkpoint in the middle of the third epoch."""
    run, state = RunFolder(tmp_path_factory.mktemp("run")), fresh()
    (run.path / "recipe.yaml").touch()  # it has begun
    row = {"epoch": 1, "step": 5, "train_loss": 1.0, "val_loss": 2.0, "val_top1": 30.0, "seconds": 0.1, "corrupt": 0}
    state.end_epoch(row, PRIMARY)
    state.end_epoch(row | {"epoch": 2, "val_loss": float("nan")}, PRIMARY)
    state.count_step(Figures.of({"loss": torch.ones(())}, {"top1": torch.ones(())}), 4)
    images = {split: {"count": 9, "fingerprint": "0" * 16} for split in ("train", "val")}
    state.origin = origin_of(Recipe(), {"classes": ["a", "b"], "images": images})
    state.save(run)
    return run


def seal(content: bytes) -> bytes:
    return content + b"\nsha256 %s\n" % hashlib.sha256(content).hexdigest().encode()


def damaged(content: bytes, random: Random) -> bytes:
    """Return bytes after one of the things that happen to files."""
    place, length = random.randrange(len(content)), random.choice([1, 1, 2, 16, 500])
    return random.choice(
        [
            lambda: content[:place] + bytes([content[place] ^ 1 << random.randrange(8)]) + content[place + 1 :],
            lambda: content[:place] + random.randbytes(length) + content[place + length :],
            lambda: content[:place] + bytes(length) + content[place + length :],
            lambda: content[:place],
            lambda: content[:place] + content[place + length :],
            lambda: content[:place] + random.randbytes(length) + content[place:],
            lambda: content[place:],
            lambda: random.randbytes(place),
        ]
    )()


def places(tree: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the place of every value in nested mappings and lists."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list | tuple) else ()
    return [place, *(found for key, value in inner for found in places(value, (*place, key)))]


def changed(tree: Any, random: Random) -> Any:
    """Return a checkpoint with one entry removed, added or replaced."""
    copied = copy.deepcopy(tree)
    *above, key = random.choice(places(tree)[1:])
    parent = copied
    for name in above:
        parent = parent[name]
    if isinstance(parent, tuple):
        return copied
    what = random.choice(["replace", "replace", "remove", "add", "swap"])
    if what == "remove":
        del parent[key]
    elif what == "add" and isinstance(parent, dict):
        parent[random.choice(["x", 7, "", "rows"])] = random.choice(ODD_HERE)
    elif what == "swap":
        value = copied
        for name in random.choice(places(tree)):
            value = value[name]
        parent[key] = copy.deepcopy(value)
    else:
        parent[key] = random.choice(ODD_HERE)
    return copied


def take_up(path: Path) -> None:
    """Read a checkpoint into a fresh run, as a resumed one does, in time; one line at the most."""
    with within(SECONDS):
        try:
            fresh().restore(read_checkpoint(path), PRIMARY, str(path))
        except UsageError as error:
            lines = str(error).splitlines()
            assert len(lines) == 1, lines


@pytest.mark.parametrize("cases", CASES)
def test_bytes_that_are_not_what_was_written_are_refused(run: RunFolder, tmp_path: Path, cases: int) -> None:
    content, path = run.checkpoint.read_bytes(), tmp_path / "last.ckpt"
    for seed in range(cases):
        other = damaged(content, Random(seed))
        path.write_bytes(other)
        if other != content:
            with pytest.raises(UsageError, match="is damaged"):
                read_checkpoint(path)


@pytest.mark.parametrize("cases", CASES)
def test_damaged_bytes_under_a_good_checksum_are_no_raw_error(run: RunFolder, tmp_path: Path, cases: int) -> None:
    content, path = run.checkpoint.read_bytes()[:-73], tmp_path / "last.ckpt"
    for seed in range(cases):
        path.write_bytes(seal(damaged(content, Random(seed))))
        take_up(path)


@pytest.mark.parametrize("cases", CASES)
def test_other_entries_under_a_good_checksum_are_no_raw_error(run: RunFolder, tmp_path: Path, cases: int) -> None:
    saved = read_checkpoint(run.checkpoint)
    for seed in range(cases):
        state = changed(saved, random := Random(seed))
        state = changed(state, random) if seed % 3 == 0 and len(places(state)) > 1 else state
        with (tmp_path / "last.ckpt").open("wb") as file:
            torch.save(state, file)
        content = (tmp_path / "last.ckpt").read_bytes()
        (tmp_path / "last.ckpt").write_bytes(seal(content))
        take_up(tmp_path / "last.ckpt")


def test_each_entry_that_is_missing_is_named(run: RunFolder) -> None:
    saved = read_checkpoint(run.checkpoint)
    for name in saved.keys() - {"format", "origin", "changes", "best_told", "skipped", "parts", "senet"}:  # the others came later
        with pytest.raises(UsageError, match=f"'{name}' is missing"):
            fresh().restore({key: value for key, value in saved.items() if key != name}, PRIMARY, "last.ckpt")


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("epoch",), 1, "rows of 2 epochs, but 1 are done"),
        (("epoch",), True, "epoch: expected an integer"),
        (("batch",), -1, "batch: expected an integer"),
        (("batch",), 10**9, "batch: there are 5 in an epoch"),
        (("best",), None, "rows of 2 epochs"),
        (("tally",), 3, "tally: expected"),
        (("rows", 0), {}, r"rows\[0\]: 'epoch' is missing"),
        (("model", "0.weight"), torch.ones(2, 4), r"model.0.weight does not fit the run: it needs float32 of shape \(2, 3\), got .*2, 4"),
        (("model", "0.weight"), torch.ones(2, 3).double(), "got float64"),
        (("model", "more"), torch.ones(1), "it has 'more', which the run has not"),
        (("optimizer", "state", 0, "momentum_buffer"), torch.ones(1), "optimizer does not fit the run"),
        (("optimizer", "state", 99), {"momentum_buffer": None}, "optimizer does not fit the run"),
        (("optimizer", "param_groups", 0, "params"), [0], "other groups of parameters"),
        (("schedule", "drops"), "many", "schedule.drops does not fit the run: it needs int, got 'many'"),
        (("origin", "classes"), "ab", "origin.classes: expected a list"),
    ],
)
def test_what_does_not_fit_is_named(run: RunFolder, place: tuple[Any, ...], value: Any, message: str) -> None:
    saved = copy.deepcopy(read_checkpoint(run.checkpoint))
    parent = saved
    for key in place[:-1]:
        parent = parent[key]
    parent[place[-1]] = value
    with pytest.raises(UsageError, match=message):
        fresh().restore(saved, PRIMARY, "last.ckpt")


def test_unchanged_it_is_taken_up(run: RunFolder, tmp_path: Path) -> None:
    state = fresh()
    state.restore(read_checkpoint(run.checkpoint), PRIMARY, "last.ckpt")
    assert (state.epoch, state.batch, len(state.rows), state.tally.images) == (2, 1, 2, 4)
    state.origin = read_checkpoint(run.checkpoint)["origin"]
    (tmp_path / "recipe.yaml").touch()  # it has begun
    write_checkpoint(RunFolder(tmp_path), {})
    state.save(RunFolder(tmp_path))
    assert (tmp_path / "previous.ckpt").is_file()


def adamw(state: dict[str, Any]) -> tuple[dict[str, Any], torch.optim.Optimizer]:
    own = torch.optim.AdamW([torch.nn.Parameter(torch.ones(2, 3))])
    return {"state": {0: state}, "param_groups": [{"params": [0]}]}, own


AVERAGES = {"exp_avg": torch.ones(2, 3), "exp_avg_sq": torch.ones(2, 3), "step": torch.tensor(3.0)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"exp_avg": torch.ones(3)}, "parameter 0 is not of shape"),
        ({"exp_avg_sq": None}, "parameter 0 is not of shape"),
        ({"step": torch.ones(2)}, "parameter 0 has no count of its steps"),
        ({"momentum_buffer": torch.ones(2, 3)}, "momentum_buffer"),
    ],
)
def test_the_state_of_adamw_must_be_whole(changes: dict[str, Any], message: str) -> None:
    check_optimizer(*adamw(AVERAGES), "last.ckpt: optimizer")
    with pytest.raises(UsageError, match=message):
        check_optimizer(*adamw(AVERAGES | changes), "last.ckpt: optimizer")
