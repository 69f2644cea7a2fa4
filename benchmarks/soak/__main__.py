"""Train under faults at random, again and again, and beside it a run that nothing disturbs: `python -m benchmarks.soak --minutes 30`."""

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from statistics import median
from threading import Event, Thread
from typing import Any

import torch
from rich.console import Console
from safetensors.torch import load_file

from benchmarks.run import RESULTS, result_path
from benchmarks.soak.command import Training, write_images, write_recipe
from benchmarks.soak.faults import FAULTS
from benchmarks.soak.flatness import growth, usage
from senet.atomic import write_text
from senet.measuring.machine import PACKAGE, bench_environment
from senet.results.run_folder import RunFolder

EPOCHS = 6
"""Of a run that is hurt."""
MOST_FAULTS = 3
"""Faults of one run; what is begun after them goes on to its end."""
LATEST = 2.0
"""Seconds after a checkpoint until which a fault comes."""
EVERY = 2.0
"""Seconds between two looks at the run that nothing disturbs."""
CLOCK = ("seconds", "images_per_second")


@dataclass
class Tally:
    """What happened.

    Args:
        tried: fault -> how often it was caused.
        survived: fault -> how often the run that it hurt came to the end of an undisturbed one.
        restarts: seconds from a start after a fault to its first checkpoint.
        stuck: commands that did not end by themselves.
        wrong: runs that came to another end, with their faults and what they said.
        runs: how many there were, by processes.
        epochs: finished by all runs.
    """

    tried: Counter[str] = field(default_factory=Counter)
    survived: Counter[str] = field(default_factory=Counter)
    restarts: list[float] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    wrong: list[dict[str, Any]] = field(default_factory=list)
    runs: Counter[str] = field(default_factory=Counter)
    epochs: int = 0


def final(run: RunFolder) -> tuple[Mapping[str, torch.Tensor], Any, list[dict[str, float]]]:
    """Return how a run ended: its best weights, what its last checkpoint holds, and its metrics, but for what the clock says."""
    rows = [{name: value for name, value in row.items() if name not in CLOCK} for row in run.metrics()]
    return load_file(run.weights), torch.load(run.checkpoint, weights_only=True), rows


def same(one: Any, other: Any) -> bool:
    """Return whether two ends are equal bit for bit, but for what the clock says."""
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one.keys() - set(CLOCK))
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def dealt(chance: random.Random) -> Iterator[str]:
    """Yield faults without end: all of them in an order of chance, again and again."""
    while True:
        yield from chance.sample(list(FAULTS), len(FAULTS))


def hurt_run(number: int, place: Path, whole: Mapping[int, Any], faults: list[str], chance: random.Random, tally: Tally) -> None:
    """Train one run under faults to its end, and compare that with the end of an undisturbed one."""
    ranks = 2 - number % 2
    run, root = RunFolder(place / f"run{number}"), place / "images"
    caused: list[str] = []
    for _ in range(2 * MOST_FAULTS):
        training = Training(place / "soak.yaml", run, ranks)
        begun = training.saves()
        if caused and begun:
            tally.restarts.append(time.monotonic() - training.begun)
        undo, fault = None, ""
        if faults and begun:
            time.sleep(chance.uniform(0, LATEST))
            if training.process.poll() is None:
                training.look()
                fault = faults.pop(0)
                undo = FAULTS[fault](training, root, chance)
        code = training.end()
        if undo is not None:
            undo()
            caused += [] if code == 0 else [fault]  # else it came too late to hurt
        if code is None:
            tally.stuck.append(f"{caused[-1] if caused else 'no fault'}, {ranks} processes")
        if run.is_finished() or (code != 0 and undo is None):  # the one without a fault should have reached the end
            break
    tally.tried.update(caused)
    tally.runs[str(ranks)] += 1
    if run.is_finished() and same(final(run), whole[ranks]):
        tally.survived.update(caused)
        tally.epochs += EPOCHS
    else:
        said = training_log(run)
        tally.wrong.append({"run": number, "processes": ranks, "faults": caused, "finished": run.is_finished(), "said": said})


def training_log(run: RunFolder) -> str:
    """Return the end of what a run's commands have said."""
    return run.path.with_name(f"{run.path.name}.log").read_text(errors="replace")[-600:]


def watch(training: Training, rows: list[dict[str, float]], ended: Event) -> None:
    """Note what a run that nothing disturbs holds, until it is to end."""
    training.saves()
    while not ended.wait(EVERY) and training.process.poll() is None:
        rows.append({"seconds": round(time.monotonic() - training.begun, 1), **usage(training.process.pid)})


def soak(minutes: float, seed: int, place: Path, say: Console) -> dict[str, Any]:
    """Train for so many minutes; return what was found."""
    write_images(place / "images")
    write_images(place / "undisturbed")
    recipe = write_recipe(place / "soak.yaml", place / "images", epochs=EPOCHS)
    whole = {}
    for ranks in (1, 2):
        training = Training(recipe, RunFolder(place / f"whole{ranks}"), ranks)
        if training.end() != 0:
            raise RuntimeError(f"the undisturbed run of {ranks} processes failed: {training_log(training.run)}")
        whole[ranks] = final(training.run)
    long = Training(write_recipe(place / "long.yaml", place / "undisturbed", epochs=10**6), RunFolder(place / "long"), 1)
    rows, ended, tally, number = list[dict[str, float]](), Event(), Tally(), 0
    watcher = Thread(target=watch, args=(long, rows, ended))
    watcher.start()
    try:
        deadline, chance = time.monotonic() + 60 * minutes, random.Random(seed)
        deal = dealt(chance)
        while time.monotonic() < deadline:
            hurt_run(number, place, whole, list(islice(deal, chance.randint(1, MOST_FAULTS))), chance, tally)
            number += 1
            say.print(f"{number} runs, {sum(tally.tried.values())} faults, {len(tally.wrong)} wrong ends, {len(tally.stuck)} stuck")
    finally:
        ended.set()
        watcher.join()
        long.process.send_signal(signal.SIGTERM)
        code = long.end()
    times = tally.restarts
    return {
        "faults": {name: {"tried": tally.tried[name], "survived": tally.survived[name]} for name in FAULTS},
        "runs": dict(tally.runs),
        "epochs": tally.epochs,
        "samples_lost_or_repeated": None if tally.wrong else 0,
        "wrong": tally.wrong,
        "stuck": tally.stuck,
        "restart_seconds": {"count": len(times), "median": round(median(times), 2), "max": round(max(times), 2)} if times else {},
        "undisturbed": {
            "epochs": len(long.run.metrics()),
            "exit_code": code,
            "growth": growth(rows),
            "usage": rows[:: max(1, len(rows) // 100)],
        },
    }


def is_sound(found: Mapping[str, Any]) -> bool:
    """Return whether every run came to the right end by itself, and nothing grew."""
    flat = all(kind["flat"] for kind in found["undisturbed"]["growth"].values())
    return flat and not found["wrong"] and not found["stuck"] and found["undisturbed"]["exit_code"] == 128 + signal.SIGTERM


def main(argv: list[str] | None = None) -> int:
    """Train under faults and write what was found; exit with 1 if a run was lost or something grew."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0, help="of the faults and their moments")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the JSON file")
    args = parser.parse_args(argv)
    facts = bench_environment(sources=(PACKAGE, Path(__file__).parent / "*.py"))
    with tempfile.TemporaryDirectory() as scratch:
        found = soak(args.minutes, args.seed, Path(scratch), Console(stderr=True))
    about = (
        "runs under faults at random against undisturbed ones, bit for bit but for times, so that no sample of any epoch is lost or taken "
        "twice; and what one process holds that trains beside them"
    )
    tree = {"benchmark": "soak", **facts, "about": about, "minutes": args.minutes, "seed": args.seed, **found, "sound": is_sound(found)}
    write_text(result_path(args.out, "soak", facts), json.dumps(tree, indent=2) + "\n")
    print(
        json.dumps(
            {name: value for name, value in tree.items() if name != "undisturbed"} | {"growth": found["undisturbed"]["growth"]}, indent=2
        )
    )
    return 0 if tree["sound"] else 1


if __name__ == "__main__":
    sys.exit(main())
