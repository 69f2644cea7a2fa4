"""Say what a training step spends its time on, before and after the tails are fused: `python -m benchmarks.breakdown`."""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

import torch
from rich.console import Console
from rich.markdown import Markdown
from torch.profiler import ProfilerActivity, profile

from benchmarks.registry import created, in_layout
from benchmarks.run import COMMITTED, RESULTS, result_path
from benchmarks.table import TABLES
from senet.atomic import write_text
from senet.measuring.machine import bench_environment
from senet.measuring.steps import TrainingStep, cross_entropy_of

NETWORK, SIZE = "resnet50", (8, 3, 224, 224)
FORMS = {"plain eager": ("plain", "reference"), "SE eager": ("se", "reference"), "SE fused": ("se", "cpp")}
"""Column -> block, backend of the tails."""

GROUPS = {
    "convolutions": ("convolution", "conv2d"),
    "batch normalisation": ("batch_norm",),
    "fused tails": ("senet_cpp",),
    "products, sums and ReLUs of maps": (
        "aten::mul",
        "aten::add",
        "aten::relu",
        "aten::clamp",
        "aten::threshold",
        "aten::addcmul",
        "aten::copy",
    ),
    "means and sums over positions": ("aten::sum", "aten::mean", "aten::div"),
    "pooling": ("pool",),
}
"""Row -> what the names of its operators contain; the first row that fits counts, the others are "the rest"."""


def group_of(operator: str) -> str:
    """Return the row of an operator."""
    return next((row for row, parts in GROUPS.items() if any(part in operator.lower() for part in parts)), "the rest")


def milliseconds(step: TrainingStep, steps: int) -> dict[str, float]:
    """Return the CPU time of one step by row, a mean over several, after two that are not counted."""
    for _ in range(2):
        step()
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        for _ in range(steps):
            step()
    total: Counter[str] = Counter()
    for event in seen.key_averages():
        total[group_of(event.key)] += event.self_cpu_time_total / 1000 / steps  # pyright: ignore[reportArgumentType]
    return {row: total[row] for row in (*GROUPS, "the rest")}


def main(argv: list[str] | None = None) -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.breakdown", description=__doc__)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, help="CPU threads; default: torch's own choice")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the JSON file")
    args = parser.parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    facts = bench_environment(sources=COMMITTED)
    images, labels = torch.randn(SIZE).to(memory_format=torch.channels_last), torch.randint(10, SIZE[:1])
    columns = {}
    for name, (block, tails) in FORMS.items():
        model = in_layout(created(NETWORK, block), torch.channels_last).train()
        columns[name] = milliseconds(TrainingStep(model, (images,), cross_entropy_of(labels), tails=tails), args.steps)
    about = f"{NETWORK}, {SIZE[0]} x {'x'.join(map(str, SIZE[1:]))}: CPU milliseconds of a training step"
    tree = {"benchmark": "breakdown", **facts, "about": about, "steps": args.steps, "milliseconds": columns}
    write_text(result_path(args.out, "breakdown", facts), json.dumps(tree, indent=2) + "\n")
    Console().print(Markdown(TABLES["breakdown"]([tree])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
