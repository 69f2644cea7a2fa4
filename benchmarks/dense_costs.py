"""Say what blocks cost in F-CNNs, counted at one size and timed at another: `python -m benchmarks.dense_costs`."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.run import COMMITTED, RESULTS, result_path
from senet.atomic import write_text
from senet.measuring.machine import bench_environment
from senet.models.create import create_model
from senet.profiling import profile

NETWORKS, BLOCKS = ("unet", "sd_net", "fc_densenet"), ("se", "sse", "scse")
CHANNELS, CLASSES = 3, 28


def counted(name: str, block: str, side: int) -> dict[str, Any]:
    """Return what a network costs with a block, and over the plain one, for an image of that side."""
    model = create_model(f"{block}_{name}", in_channels=CHANNELS, num_classes=CLASSES)
    found = profile(model, (1, CHANNELS, side, side), latency=False)
    assert found.plain is not None
    sums = ("params", "macs", "activation_bytes")
    plain, own = ({what: getattr(one, what) for what in sums} for one in (found.plain, found))
    return {"plain": plain, "own": own, "ratios": found.ratios}


def timed(name: str, block: str, side: int, rounds: int) -> dict[str, Any]:
    """Return the latency of a network with a block, of the plain one, and their ratio, for an image of that side."""
    model = create_model(f"{block}_{name}", in_channels=CHANNELS, num_classes=CLASSES)
    tree = profile(model, (1, CHANNELS, side, side), rounds=rounds).to_dict()
    return {"plain": tree["plain"]["latency"], "own": tree["latency"], "ratio": tree["ratios"]["latency"]}


def main(argv: list[str] | None = None) -> int:
    """Count, time and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dense_costs", description=__doc__)
    parser.add_argument("--side", type=int, default=1024, help="of the image for which costs are counted")
    parser.add_argument("--timed-side", type=int, default=256, help="of the image for which passes of scSE are timed")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--threads", type=int, help="CPU threads; default: torch's own choice")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the JSON file")
    args = parser.parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    facts = bench_environment(sources=COMMITTED)
    counts = {name: {block: counted(name, block, args.side) for block in BLOCKS} for name in NETWORKS}
    times = {name: {BLOCKS[-1]: timed(name, BLOCKS[-1], args.timed_side, args.rounds)} for name in NETWORKS}
    about = f"one image of {CHANNELS} channels, {CLASSES} classes, float32; seconds of a forward pass in evaluation mode"
    tree = {"benchmark": "dense_costs", **facts, "about": about, "side": args.side, "timed_side": args.timed_side}
    write_text(result_path(args.out, "dense_costs", facts), json.dumps(tree | {"counts": counts, "times": times}, indent=2) + "\n")
    table = Table("network", "block", "MACs, times", "kept, times", "CPU time, times", box=None)
    for name, blocks in counts.items():
        for block, found in blocks.items():
            time = times[name].get(block)
            ratios = [f"{found['ratios'][what]:.4f}" for what in ("macs", "activation_bytes")]
            table.add_row(name, block, *ratios, "" if time is None else f"{time['ratio']['cpu']:.3f} of {time['own']['rounds']} rounds")
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
