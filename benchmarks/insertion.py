"""Insert into networks of timm, and hold another version of senet against the record: `python -m benchmarks.insertion record|check FILE`.

Each network has random weights of one seed, as if trained: no scale is zero and every BN has statistics. Its sites are found and get an SE
block that starts as the identity. Noted are the sites, the largest relative change of the outputs, and whether removal gives them back bit
by bit; or the line with which senet refuses. `record` takes the smallest network of every family of timm, or `--count` ones that are drawn
by `--seed`. Only public names of senet are used, so that the script runs on any version. Every network has a process and a time limit.
"""

import argparse
import hashlib
import json
import multiprocessing
import random
import re
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data.config import resolve_model_data_config
from torch import nn

import senet
from senet.errors import UsageError

SIDES = (64, 128, None)
"""Sides of the images tried; None = the network's own."""

MAX_PARAMETERS = 60_000_000
MAX_SECONDS = 300
MAX_BYTES = 12 << 30

Row = dict[str, Any]


def size_of(name: str) -> tuple[int, int]:
    """Return how many parameters and how many wide convolutions a network has, without allocating it; (0, 0) if that is impossible."""
    try:
        with torch.device("meta"):
            model = timm.create_model(name)
    except Exception:  # constructors that compute with their weights
        return 0, 0
    wide = sum(isinstance(module, nn.Conv2d) and max(module.kernel_size) > 1 for module in model.modules())
    return sum(parameter.numel() for parameter in model.parameters()), wide


def families(convolutions: int = 6) -> list[str]:
    """Return the smallest network of each family that convolves: a module of timm and the letters with which a name begins."""
    smallest: dict[tuple[str, str], tuple[int, str]] = {}
    for module in timm.list_modules():
        for name in timm.list_models(module=module):
            parameters, wide = size_of(name)
            letters = re.match(r"[a-z]*", name)
            key = (module, letters[0] if letters else "")
            if wide >= convolutions and 0 < parameters < MAX_PARAMETERS and not name.startswith("test_"):
                smallest[key] = min(smallest.get(key, (parameters, name)), (parameters, name))
    return sorted(name for _, name in smallest.values())


def drawn(seed: int, count: int, known: set[str]) -> list[str]:
    """Return networks of timm, of any kind and of at most `MAX_PARAMETERS`, in the order in which they are drawn."""
    names = timm.list_models()
    random.Random(seed).shuffle(names)
    unknown = (name for name in names if name not in known and not name.startswith("test_"))
    fits = (name for name in unknown if size_of(name)[0] < MAX_PARAMETERS)
    return [name for name, _ in zip(fits, range(count), strict=False)]


def as_if_trained(name: str) -> nn.Module:
    """Return a network in evaluation mode in which no scale is zero and every BN has statistics."""
    torch.manual_seed(0)
    model = timm.create_model(name).eval()
    for parameter in model.parameters():
        if not parameter.any():
            nn.init.uniform_(parameter, 0.5, 1.0) if parameter.ndim == 1 else nn.init.normal_(parameter, std=0.02)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None and module.running_var is not None:
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.8, 1.2)
    return model


def first_outputs(model: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Return two images of the smallest side that a network takes, and its outputs."""
    channels, *_, own = resolve_model_data_config(model)["input_size"]
    for side in SIDES:
        images = torch.randn(2, channels, side or own, side or own, generator=torch.Generator().manual_seed(1))
        try:
            return images, model(images)
        except Exception:
            if side is None:
                raise
    raise AssertionError


def measure(name: str) -> Row:
    """Insert into one network and take the blocks out again."""
    model = as_if_trained(name)
    with torch.no_grad():
        images, before = first_outputs(model)
        try:
            plan = senet.insert(model, senet.find_sites(model), init="identity")
        except UsageError as error:
            return {"refused": str(error)}
        after = model(images)
        senet.remove(model)
        back = model(images)
    scale = before.abs().max().item() or 1.0
    where = [
        f"{site.path} {site.position} {site.node} {site.kind} stage {site.stage} channels {site.channels} axis {site.axis}" for site in plan
    ]
    return {
        "sites": len(plan),
        "kinds": dict(Counter(site.kind for site in plan)),
        "digest": hashlib.sha256("\n".join(where).encode()).hexdigest()[:16],
        "where": where,
        "notes": list(plan.notes),
        "error": (after - before).abs().max().item() / scale,
        "removed": torch.equal(back, before),
        "side": images.shape[-1],
    }


def _child(work: Callable[[str], Row], name: str, pipe: Any) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MAX_BYTES, MAX_BYTES))
    torch.set_num_threads(1)
    try:
        row = work(name)
    except Exception as error:  # what is measured may raise anything
        row = {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
    pipe.send(row)


def measured(name: str, work: Callable[[str], Row] = measure, seconds: float = MAX_SECONDS) -> Row:
    """Do the work on one network in a process of its own, which is ended after some time."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(work, name, sender), daemon=True)
    begin = time.perf_counter()
    process.start()
    sender.close()
    try:
        row = receiver.recv() if receiver.poll(seconds) else {"failed": f"no result after {seconds:g} s"}
    except EOFError:
        row = {"failed": "the process died"}
    process.kill()
    process.join()
    return row | {"seconds": round(time.perf_counter() - begin, 1)}


def record(path: Path, names: list[str]) -> dict[str, Row]:
    """Measure networks and write the rows, after each one."""
    rows: dict[str, Row] = {}
    for name in names:
        rows[name] = measured(name)
        print(described(name, rows[name]), flush=True)
        path.write_text(json.dumps(rows, indent=1) + "\n")
    return rows


def described(name: str, row: Row) -> str:
    """Return a row in words."""
    if "sites" not in row:
        return f"{name:32} {'refused: ' + row['refused'] if 'refused' in row else 'FAILED: ' + row['failed']}"
    kinds = ", ".join(f"{count} {kind}" for kind, count in row["kinds"].items())
    return f"{name:32} {row['sites']:3} sites ({kinds}), error {row['error']:.1e}, removal {'exact' if row['removed'] else 'NOT EXACT'}"


def differences(old: dict[str, Row], rows: Iterator[tuple[str, Row]]) -> Iterator[str]:
    """Yield what differs from a record, network by network."""
    for name, new in rows:
        before = old[name]
        if before.get("digest") != new.get("digest") or ("sites" not in new and described(name, before) != described(name, new)):
            gone = [line for line in before.get("where", ()) if line not in new.get("where", ())]
            come = [line for line in new.get("where", ()) if line not in before.get("where", ())]
            yield "\n".join(
                [described(name, before), described(name, new), *(f"  - {line}" for line in gone), *(f"  + {line}" for line in come)]
            )
        elif "sites" in new and (new["error"] > max(1e-5, 2 * before["error"]) or new["removed"] < before["removed"]):
            yield f"{described(name, before)}\n{described(name, new)}"


def main(arguments: list[str] | None = None) -> int:
    """Record, or check against a record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("record", "check"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--seed", type=int, help="record: draw networks by this seed, instead of taking the smallest of each family")
    parser.add_argument("--count", type=int, default=30, help="how many are drawn")
    parser.add_argument("--without", type=Path, nargs="*", default=[], help="files whose text names networks that are not drawn")
    parser.add_argument("--only", help="measure the networks whose name matches this regular expression")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if args.action == "record":
        text = " ".join(path.read_text() for path in args.without)
        known = set(re.findall(r"\w+", text))
        record(args.file, families() if args.seed is None else drawn(args.seed, args.count, known))
        return 0
    old = json.loads(args.file.read_text())
    names = [name for name in old if re.search(args.only or "", name)]
    found = 0
    for difference in differences(old, ((name, measured(name)) for name in names)):
        print(difference, flush=True)
        found += 1
    print(f"{len(names) - found} of {len(names)} networks as before")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
