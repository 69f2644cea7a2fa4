"""Compare the loss curves of two backends of the residual tail over seeds: `python -m benchmarks.curves --root CIFAR10`."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, islice
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from rich.console import Console

from benchmarks.run import COMMITTED, HERE, RESULTS, result_path
from senet import backend
from senet.atomic import write_text
from senet.measuring.machine import bench_environment
from senet.measuring.numbers import plural
from senet.recipe import Recipe, load_recipe
from senet.report.picture import write_picture
from senet.report.svg import Drawing, Scale, series, tick_label, tick_step
from senet.training.job import prepare
from senet.training.step import EagerStep, train_step

NETWORK, RECIPE = "se_cifar_resnet20", "cifar10_preresnet110"
WINDOW = 20
"""Steps over which a curve is averaged: the loss of one step is that of its images."""

Losses = dict[str, list[list[float]]]
"""Backend -> the losses of each seed, step by step."""


def curve_recipe(root: str, seed: int) -> Recipe:
    """Return the recipe of CIFAR-10's residual networks for ours, which needs no warm-up (He et al., 1512.03385, section 4.2)."""
    changes = {"model.name": NETWORK, "model.block": "auto", "model.reduction": None, "schedule.warmup_steps": 0}
    return load_recipe(RECIPE, changes | {"data.root": root, "data.workers": 0, "seed": seed})


def losses(recipe: Recipe, tails: str, steps: int | None, tell: Callable[[str], object]) -> list[float]:
    """Train for one epoch, or so many steps, and return the loss of each."""
    job = prepare(recipe)
    job.training_mode()
    step = EagerStep(job, job.wrap())
    job.state.begin_pass()
    found: list[float] = []
    with backend(tails):
        for batch in islice(job.batches.epoch(0), steps):
            figures = train_step(job, step, batch)
            job.state.count_step(figures, len(batch.images))
            found.append(figures.values[figures.means.index("loss")].item())
            tell(f"{tails}, seed {recipe.seed}: step {len(found)}, loss {found[-1]:.3f}")
    return found


def smooth(curve: Sequence[float], window: int = WINDOW) -> list[float]:
    """Average each run of `window` steps; the curve is shorter by window - 1 then."""
    window = min(window, len(curve))
    return [fmean(curve[start : start + window]) for start in range(len(curve) - window + 1)]


def largest_difference(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the largest distance of two smoothed curves."""
    return max(abs(mine - theirs) for mine, theirs in zip(smooth(one), smooth(other), strict=True))


def curve_differences(curves: Losses) -> dict[str, float]:
    """Return the largest difference between backends on one seed, and between two seeds of one backend."""
    backends = list(curves)
    by_backend = [largest_difference(*pair) for a, b in combinations(backends, 2) for pair in zip(curves[a], curves[b], strict=True)]
    by_seed = [largest_difference(one, other) for members in curves.values() for one, other in combinations(members, 2)]
    return {"between_backends": max(by_backend), "between_seeds": max(by_seed)}


def loss_chart(curves: Mapping[str, Sequence[Sequence[float]]], title: str, *, first: int = 1) -> Drawing:
    """Draw loss curves, one colour a group, one line a member; the first group's are dashed.

    Args:
        curves: group -> its members' losses, step by step.
        title: what is shown.
        first: the step of the first loss.
    """
    lines = [line for members in curves.values() for line in members]
    ends = "; ".join(f"{group} ends at {', '.join(f'{line[-1]:.3g}' for line in members)}" for group, members in curves.items())
    drawing = Drawing(760, 360, f"{title}: {ends}.")
    x = Scale(first, first + max(map(len, lines)) - 1, 48, 752)
    y = Scale(min(map(min, lines)), max(map(max, lines)), 310, 34)
    step = tick_step(y.high - y.low, 6)
    drawing.text((0, 12), title, class_="heading")
    for tick in y.ticks(6):
        drawing.line((x.start, y(tick)), (x.end, y(tick)), class_="grid")
        drawing.text((x.start - 10, y(tick) + 5), tick_label(tick, step), class_="tick end")
    for tick in x.ticks(8, whole=True):
        drawing.text((x(tick), 334), f"{tick:.0f}", class_="tick middle")
    drawing.text((x.end, 356), "step", class_="tick end")
    for place, members in reversed(list(enumerate(curves.values()))):  # the dashed lines on top, so that none is hidden
        for line in members:
            drawing.path([(x(at), y(loss)) for at, loss in enumerate(line, first)], class_=f"curve {series(place)}")
    for place, (group, members) in enumerate(curves.items()):
        at = 44 + 22.0 * place
        drawing.path([(x.end - 200, at), (x.end - 160, at)], class_=f"curve {series(place)}")
        drawing.text((x.end - 150, at + 5), f"{group}, {plural(len(members), 'seed')}", class_=f"label {series(place)}")
    return drawing


def smoothed_chart(tree: Mapping[str, Any]) -> Drawing:
    """Draw the curves of a result, each point the mean of a window."""
    curves = {name: [smooth(curve, tree["window"]) for curve in members] for name, members in tree["losses"].items()}
    steps = len(next(iter(tree["losses"].values()))[0])
    return loss_chart(curves, tree["about"], first=1 + steps - len(next(iter(curves.values()))[0]))


def measured(args: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    """Train with each backend and seed, write the curves and return what was written."""
    if args.threads:
        torch.set_num_threads(args.threads)
    facts = bench_environment(sources=COMMITTED)
    with Console(stderr=True).status(NETWORK) as status:
        curves: Losses = {
            name: [losses(curve_recipe(args.root, seed), name, args.steps, status.update) for seed in range(args.seeds)] for name in names
        }
    about = f"{NETWORK}, CIFAR-10, first epoch: training loss by backend"
    tree = {"benchmark": "loss_curves", **facts, "about": about, "window": WINDOW}
    tree |= {"differences": curve_differences(curves), "losses": curves}
    write_text(result_path(args.out, "loss_curves", facts), json.dumps(tree, indent=2) + "\n")
    return tree


def main(argv: list[str] | None = None) -> int:
    """Train, or read what was trained; draw the picture, and say the differences."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.curves", description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--root", help="folder of CIFAR-10 (`cifar-10-batches-py` inside)")
    source.add_argument("--from", dest="saved", type=Path, metavar="FILE", help="draw what was written before, without training")
    parser.add_argument("--backends", default="reference,cpp", help="two or more, joined by commas")
    parser.add_argument("--seeds", type=int, default=3, help="how many; at least two")
    parser.add_argument("--steps", type=int, help="stop after so many; default: the epoch")
    parser.add_argument("--threads", type=int, help="CPU threads; default: torch's own choice")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the JSON file")
    parser.add_argument("--plot", type=Path, default=HERE.parent / "docs" / "loss_curves.svg", help="the picture, an .svg file")
    args = parser.parse_args(argv)
    names = args.backends.split(",")
    if len(set(names)) < 2 or args.seeds < 2:
        parser.error("two backends and two seeds are the least that can be compared")
    tree = json.loads(args.saved.read_text(encoding="utf-8")) if args.saved else measured(args, names)
    write_picture(smoothed_chart(tree), args.plot)
    found = tree["differences"]
    Console().print(
        f"largest difference of the losses, averaged over {tree['window']} steps: {found['between_backends']:.4f} between backends on one "
        f"seed, {found['between_seeds']:.4f} between seeds of one backend",
        soft_wrap=True,
    )
    return 0 if found["between_backends"] <= found["between_seeds"] else 1


if __name__ == "__main__":
    sys.exit(main())
