"""Insert scSE into a trained nnU-Net and go on training, with blocks and without: `python -m benchmarks.nnunet --root NUCLEI`.

For each seed, the U-Net of nnU-Net is trained on nuclei without blocks. From its weights two networks go on with the same images in the
same order and the same augmentation: as it is, and with scSE that starts as the identity. The networks come from `network` below, which
recipes name as they name any user's file; training, data and metrics are senet's.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from torch import nn

import senet
from benchmarks.run import COMMITTED, RESULTS, result_path
from senet.atomic import write_text
from senet.data.views import Views
from senet.measuring.machine import bench_environment
from senet.measuring.paired import paired_difference
from senet.recipe import Recipe, load_recipe
from senet.tasks.registry import open_task

STAGES = 4
ARMS: Mapping[str, Mapping[str, Any]] = {
    "plain": {},
    "scse": {"model.block": "scse", "model.options.init": "identity"},
}
"""What goes on from the trained weights: what its recipe has beside the other's."""

METRICS = ("dice", "iou", "boundary_f")
Rows = list[dict[str, Any]]


def network(num_classes: int, in_channels: int, width: int = 8, trained: str | None = None) -> nn.Module:
    """Return nnU-Net's plain U-Net in two dimensions: as nnU-Net plans it, but narrow, with four stages and one output.

    Args:
        num_classes: channels of the logits.
        in_channels: channels of the images.
        width: channels of the first stage; each further one has twice as many.
        trained: a file of weights that it begins with.
    """
    model = PlainConvUNet(
        in_channels,
        STAGES,
        [width * 2**stage for stage in range(STAGES)],
        nn.Conv2d,
        3,
        [1, *[2] * (STAGES - 1)],
        2,
        num_classes,
        2,
        conv_bias=True,
        norm_op=nn.InstanceNorm2d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
    )
    model.apply(model.initialize)
    if trained is not None:
        senet.load_weights(model, trained)
    return model


def recipe_of(args: argparse.Namespace, seed: int, *, epochs: int, lr: float, **changes: Any) -> Recipe:
    """Return the recipe of nuclei for this network; `changes` are further fields."""
    fixed = {"model.name": f"{Path(__file__).resolve()}:network", "model.options": {"width": args.width}}
    plan = {"data.root": args.root, "data.workers": 0, "seed": seed, "training.epochs": epochs, "optim.lr": lr}
    return load_recipe("nuclei", fixed | plan | {"schedule.warmup_steps": args.warmup} | changes)


def largest_change(plain: Recipe, inserted: Recipe, images: int = 8) -> float:
    """Return the largest absolute difference between what two networks give for validation images; 0 = equal bit for bit.

    Args:
        plain: names the one without blocks.
        inserted: names the one with blocks.
        images: how many validation images.
    """
    task = open_task(plain)
    source = task.open(plain.data)
    before, after = (task.build(recipe.model, source).eval() for recipe in (plain, inserted))
    whole = task.eval_transform(source.input, Views())
    with torch.no_grad():
        shown = [whole(source.val.read(index), None)[0][None] for index in range(min(images, len(source.val)))]
        return max((after(image) - before(image)).abs().max().item() for image in shown)


def outcome(folder: Path, result: Any) -> dict[str, Any]:
    """Return what a run reached after its last epoch: the metrics, and the Dice of small, medium and large regions."""
    regions = json.loads((folder / "tables.json").read_text(encoding="utf-8"))["last"]["tables"]["region size"]
    return {name: result.final[f"val_{name}"] for name in METRICS} | {f"dice, {size}": row["dice"] for size, row in regions.items()}


def trained(args: argparse.Namespace, seed: int, folder: Path) -> dict[str, Any]:
    """Train one seed: the network without blocks, and what goes on from it."""
    before = senet.train(recipe_of(args, seed, epochs=args.epochs, lr=0.05), folder=folder / "before")
    row: dict[str, Any] = {"seed": seed, "before": outcome(folder / "before", before), "arms": {}}
    weights = {"model.options.trained": str(folder / "before" / "best.safetensors")}
    recipes = {name: recipe_of(args, seed, epochs=args.further, lr=0.02, **weights, **changes) for name, changes in ARMS.items()}
    row["largest change by insertion"] = largest_change(recipes["plain"], recipes["scse"])
    for name, recipe in recipes.items():
        row["arms"][name] = outcome(folder / name, senet.train(recipe, folder=folder / name))
    return row


def differences(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return for each figure how scSE differs from plain over the seeds, with the 95 % interval of the mean."""
    figures = rows[0]["arms"]["plain"]
    arms = {name: {arm: [row["arms"][arm][name] for row in rows] for arm in ARMS} for name in figures}
    found = {name: paired_difference(values["scse"], values["plain"]) for name, values in arms.items()}
    return {name: asdict(difference) | {"finding": difference.finding} for name, difference in found.items()}


def parser() -> argparse.ArgumentParser:
    """Return the command's arguments."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nnunet", description=__doc__)
    parser.add_argument("--root", required=True, help="folder of nuclei: images, and masks of instances")
    parser.add_argument("--width", type=int, default=8, help="channels of the first stage")
    parser.add_argument("--seeds", type=int, default=4, help="how many; at least two")
    parser.add_argument("--epochs", type=int, default=4, help="epochs without blocks")
    parser.add_argument("--further", type=int, default=4, help="epochs that follow, with blocks and without")
    parser.add_argument("--warmup", type=int, default=20, help="steps in which the learning rate rises, each time")
    parser.add_argument("--threads", type=int, help="CPU threads; default: torch's own choice")
    parser.add_argument("--runs", type=Path, help="folder to keep the runs in; default: they are deleted")
    parser.add_argument("--out", type=Path, default=RESULTS / "evidence", help="folder of the JSON file")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Train, and write what was reached."""
    args = parser().parse_args(argv)
    if args.seeds < 2:
        parser().error("two seeds are the least that can be compared")
    if args.threads:
        torch.set_num_threads(args.threads)
    facts = bench_environment(packages=("dynamic-network-architectures",), sources=COMMITTED)
    plan = {name: getattr(args, name) for name in ("width", "epochs", "further", "warmup")}
    rows: Rows = []
    with TemporaryDirectory() as scratch:
        for seed in range(args.seeds):
            rows.append(trained(args, seed, (args.runs or Path(scratch)) / f"seed{seed}"))
    tree = {"benchmark": "nnunet_nuclei", **facts, **plan, "seeds": rows, "differences": differences(rows)}
    path = result_path(args.out, "nnunet_nuclei", facts)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(tree, indent=2) + "\n")
    found = tree["differences"]["dice"]
    print(f"scSE against plain, Dice: {found['mean']:+.2f} points, 95 % interval {found['low']} to {found['high']}: {found['finding']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
