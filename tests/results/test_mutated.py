"""Records that anything may have happened to: read as they are, or refused in one line."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from made_results import make_result, with_cases
from made_runs import tiny
from mutation import ODD, places, with_value
from senet.comparison.environment import environment_of
from senet.errors import UsageError
from senet.measuring.machine import run_environment
from senet.results.comparison import Result
from senet.results.finished import check_made_of, check_records
from senet.results.metric import top_accuracy
from senet.results.origin import origin_of, read_origin, write_origin
from senet.results.run import RunResult
from senet.results.run_folder import RunFolder
from senet.results.summary import summarise
from senet.results.sums import SUMS

CASES = [100, pytest.param(10_000, marks=pytest.mark.slow)]
ODD_HERE = (*ODD, 1, "top1", [1], {"a": 1}, "x" * 20_000, "\x1b[31m")
ROW = {"epoch": 1, "step": 4, "lr": 0.1, "train_loss": 1.25, "val_loss": 1.5, "val_top1": 40.0, "seconds": 1.5, "corrupt": 0}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """Return a finished run of two epochs, without weights."""
    import torch

    run = RunFolder(tmp_path / "run")
    run.begin(tiny(), run_environment(torch.device("cpu")))
    images = {split: {"count": 9, "fingerprint": "0" * 16} for split in ("train", "val")}
    write_origin(run, origin_of(tiny(), {"classes": ["a", "b"], "images": images}))
    last = {**ROW, "epoch": 2, "step": 8}
    run.write_metrics([ROW, last])
    run.finish(RunResult(run.path, 2, 1, {"top1": 40.0, "loss": 1.5}, last, 3.0, (top_accuracy(1),)))
    return run


def read_all(run: RunFolder) -> None:
    """Read all records of a run, as a comparison does."""
    check_records(run)
    environment_of([run])
    if origin := read_origin(run):
        check_made_of(run, origin_of(tiny(), {name: origin[name] for name in ("classes", "images")}))
    run.result().to_dict()


def one_line(work: Callable[[], object]) -> None:
    try:
        work()
    except UsageError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017 - it need not be raised


def changed(tree: Any, random: Random) -> Any:
    """Return plain data with a value replaced by an odd one or by another of its own, removed, or added."""
    there = list(places(tree))[1:]
    place = random.choice(there)
    what = random.choice(["odd", "odd", "other", "remove", "add"])
    if what in ("remove", "add"):
        *above, key = place
        parent = tree
        for name in above:
            parent = parent[name]
        if isinstance(parent, dict):
            edited = {name: value for name, value in parent.items() if name != key} if what == "remove" else {**parent, "new": 3}
        else:
            edited = parent[:key] + parent[key + 1 :] if what == "remove" else [*parent, random.choice(ODD_HERE)]
        return with_value(tree, tuple(above), edited)
    value = random.choice(ODD_HERE)
    if what == "other":
        value = tree
        for name in random.choice(there):
            value = value[name]
    return with_value(tree, place, value)


def garbled(text: str, random: Random) -> bytes:
    """Return a text with bytes replaced, removed, added or cut off."""
    content, place = text.encode(), random.randrange(len(text))
    odd = random.choice([random.randbytes(1), b"9", b"-", b"\n", b",", b'"', b"nan", b"1e999", b"\x00", b"\xff", b"0" * 6000])
    return random.choice(
        [content[:place], content[:place] + odd + content[place:], content[:place] + odd + content[place + 1 :], content[place:]]
    )


@pytest.mark.parametrize("cases", CASES)
@pytest.mark.parametrize("name", ["result.json", "origin.json", "environment.json"])
def test_mutated_json_of_a_run(run: RunFolder, name: str, cases: int) -> None:
    (run.path / SUMS).unlink()
    path = run.path / name
    text = path.read_text()
    for seed in range(cases):
        random = Random(seed)
        path.write_bytes(garbled(text, random) if seed % 4 == 0 else json.dumps(changed(json.loads(text), random)).encode())
        one_line(lambda: read_all(run))


@pytest.mark.parametrize("cases", CASES)
def test_mutated_metrics(run: RunFolder, cases: int) -> None:
    (run.path / SUMS).unlink()
    path = run.path / "metrics.csv"
    text = path.read_text()
    for seed in range(cases):
        path.write_bytes(garbled(text, Random(seed)))
        one_line(lambda: read_all(run))


@pytest.mark.parametrize("cases", CASES)
def test_any_other_byte_of_a_finished_run_is_seen(run: RunFolder, cases: int) -> None:
    names = ("result.json", "origin.json", "environment.json", "metrics.csv")
    texts = {name: (run.path / name).read_text() for name in names}
    for seed in range(cases):
        random = Random(seed)
        path = run.path / random.choice(names)
        other = garbled(texts[path.name], random)
        path.write_bytes(other)
        if other != texts[path.name].encode():
            with pytest.raises(UsageError):
                check_records(run)
        path.write_text(texts[path.name])


@pytest.mark.parametrize("cases", CASES)
def test_mutated_comparisons(tmp_path: Path, cases: int) -> None:
    tree = json.loads(json.dumps(with_cases(make_result({"plain": [90.0, 91.0], "SE": [92.0, 92.5]}, epochs=2)).to_dict()))
    path = tmp_path / "result.json"

    def use() -> None:
        result = Result.read(path)
        summarise(result)
        result.table()
        result.to_dict()

    for seed in range(cases):
        random = Random(seed)
        path.write_bytes(garbled(json.dumps(tree), random) if seed % 4 == 0 else json.dumps(changed(tree, random)).encode())
        one_line(use)


def test_the_sums_are_those_of_the_standard_tool(run: RunFolder) -> None:
    import subprocess

    done = subprocess.run(["sha256sum", "--check", "--strict", SUMS], cwd=run.path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": OK") == 4


def test_a_figure_may_be_missing_in_the_middle_but_not_in_the_end(run: RunFolder) -> None:
    (run.path / SUMS).unlink()
    rows = run.metrics()
    with (run.path / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows([{**rows[0], "train_loss": float("nan")}, rows[1]])
    check_records(run)
