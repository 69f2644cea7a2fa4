"""Predict what blocks cost in inference on a GPU: `python -m benchmarks.inference_costs [NETWORK ...]`.

A network is optimised and run on one image, and what its blocks add to the plain network's kernels is counted from the shapes it meets:
launches, bytes of maps, and bytes of weights and of parts that programs read from the cache. Nothing is timed: times are made of what
stands below.
"""

import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import senet
from senet.deploy.layers import FusedConv2d, LeanSE, SqueezingConv2d
from senet.ops.passes.partial_gate import division_of
from senet.ops.passes.triton.inference_passes import ENOUGH, FEWEST_PROGRAMS, MOST_TOGETHER

NETWORKS = ("se_resnet50", "se_resnet18", "se_resnext50_32x4d", "senet154", "se_bn_inception", "se_inception_resnet_v2", "se_mobilenet")

ITEM, WIDE = 2, 4
"""Bytes of a value of a map or of a block's second layer (bfloat16), and of a folded first layer and of parts (float32)."""
MEMORY, CACHE = 3.02e12, 5.5e12
"""Bytes a second: a copy on an H100 80GB HBM3 (measured, torch 2.11, 2026-11-26), and its L2 cache (assumed)."""
LAUNCH, ROUND = 2.2e-6, 0.7e-6
"""Seconds of a launch in a CUDA graph, and of one more round of loads that a small kernel waits for (both assumed)."""

PLAIN = {("resnet50", 256): 11.22e-3, ("resnet50", 1): 0.448e-3}
"""Network and batch -> seconds of the best form of the plain network on that H100: measured on the same day."""


@dataclass(frozen=True)
class Extra:
    """What one block adds to the kernels that a plain unit has.

    Args:
        form: how the block is computed.
        launches: kernels.
        maps: bytes of maps, for one image.
        squeezed: channels, positions and hidden units of the map that is squeezed.
        rescaled: channels, positions and hidden units of the map that is rescaled.
    """

    form: str
    launches: int
    maps: int
    squeezed: tuple[int, int, int]
    rescaled: tuple[int, int, int]

    def cached(self, images: int) -> float:
        """Return the bytes that programs read from the cache for so many images, beside the maps."""
        channels, positions, hidden = self.squeezed
        division = division_of(images, channels, positions)
        parts = division.parts(channels)
        shared = max(1, min(MOST_TOGETHER, images * parts // ENOUGH["activate_squeeze"]))
        first = images * parts * division.channels * hidden * WIDE / shared
        channels, positions, hidden = self.rescaled
        width, enough = 64, ENOUGH["excite_join"]
        while width > 16 and images * -(-channels // width) < FEWEST_PROGRAMS:
            width //= 2
        programs = images * -(-channels // width)
        spans = 1
        while programs * spans < enough and positions >= 64 * spans:
            spans *= 2
        shared = max(1, min(MOST_TOGETHER, programs * spans // enough))
        return first + programs * spans * hidden * (width * ITEM / shared + parts * WIDE)


def extras(name: str) -> Iterator[Extra]:
    """Yield what each block of a network adds, met on one image of the network's size."""
    model: Any = senet.create_model(name).eval()
    form = senet.optimize(model)
    shapes: dict[nn.Module, tuple[torch.Size, torch.Size]] = {}
    handed: set[int] = set()

    def note(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        out = output[0] if isinstance(output, tuple) else output
        shapes[module] = args[0].shape, out.shape
        if isinstance(module, SqueezingConv2d):
            handed.add(id(out))
            kept.append(out)
        if isinstance(module, FusedConv2d) and id(args[0]) in handed:
            fed.add(module)

    kept: list[Tensor] = []
    fed: set[nn.Module] = set()
    for module in form.modules():
        if isinstance(module, FusedConv2d | LeanSE):
            module.register_forward_hook(note)
    with torch.inference_mode():
        form(torch.zeros(1, *model.input_size))
    for module, (before, after) in shapes.items():
        values_in, values_out = before.numel() * ITEM, after.numel() * ITEM
        if isinstance(module, LeanSE):
            hidden = module.gate.fc1.out_features
            yield Extra("two passes over the map", 2, 3 * values_out, _size(after, hidden), _size(after, hidden))
        elif isinstance(module, FusedConv2d) and module.late_gate is not None:
            hidden = module.late_gate.fc1.out_features
            yield Extra("one pass over its output", 1, values_out, _size(after, hidden), _size(after, hidden))
        elif isinstance(module, FusedConv2d) and module.gate is not None:
            hidden = module.gate.fc1.out_features
            free = module in fed
            form_of = "in the kernels behind both convolutions" if free else "one pass over its input"
            yield Extra(form_of, 0 if free else 1, 0 if free else values_in, _size(before, hidden), _size(after, hidden))


def _size(shape: torch.Size, hidden: int) -> tuple[int, int, int]:
    return shape[1], shape[2] * shape[3], hidden


def seconds(found: list[Extra], images: int) -> float:
    """Return the time that blocks add for so many images: what is read from memory and from the cache, launches, and rounds of loads."""
    moved = sum(images * extra.maps / MEMORY + extra.cached(images) / CACHE for extra in found)
    return moved + LAUNCH * sum(extra.launches for extra in found) + (2 * ROUND * len(found) if images == 1 else 0)


def rows(names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield a row of the table for each form that each network's blocks have, then its sums."""
    for name in names:
        found = list(extras(name))
        forms: Mapping[str, int] = Counter(extra.form for extra in found)
        text = ", ".join(f"{count}: {form}" for form, count in forms.items())
        times = [seconds(found, images) for images in (256, 1)]
        plain = [PLAIN.get((name.removeprefix("se_"), images)) for images in (256, 1)]
        ratios = (f" ({1 + time / base:.3f})" if base else "" for time, base in zip(times, plain, strict=True))
        launches, maps = sum(extra.launches for extra in found), sum(extra.maps for extra in found)
        cached = sum(extra.cached(256) for extra in found)
        cost = (f"{1e3 * time:.3f} ms{ratio}" for time, ratio in zip(times, ratios, strict=True))
        yield name, text, str(launches), f"{256 * maps / 2**20:.0f}", f"{cached / 2**20:.0f}", *cost


def main() -> None:
    """Print the table."""
    columns = ("network", "blocks", "launches", "MiB of maps, b256", "MiB from the cache, b256", "b256 (/ plain)", "b1 (/ plain)")
    table = Table(
        *columns, box=None, caption="predicted, not measured: bfloat16, channels_last, one H100; what blocks add to the plain network"
    )
    for row in rows(tuple(sys.argv[1:]) or NETWORKS):
        table.add_row(*row)
    Console(width=180).print(table)


if __name__ == "__main__":
    main()
