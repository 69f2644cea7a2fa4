"""Test and measure on a GPU, and say which promises are kept: `python -m benchmarks.gpu`, in the minutes that it is given.

Only the checkout, PyTorch and what it is trained with are needed: `PYTHONPATH=src python -m benchmarks.gpu`. What a machine without a
network lacks is collected elsewhere beforehand, `python -m benchmarks.gpu --bring FOLDER`, and found there with `--brought FOLDER`.
"""

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import TYPE_CHECKING, Any

from benchmarks.gpu.parts import MINUTES

if TYPE_CHECKING:
    from benchmarks.gpu.processes import Started

ROOT = Path(__file__).parents[2]
CACHES = Path(gettempdir()) / "senet-caches"
"""What is compiled for a device: another call on the same machine finds it there."""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    found = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    found.add_argument("--parts", help="letters joined by commas; default: all that fit")
    found.add_argument("--minutes", type=float, default=MINUTES, help="of all parts; default: %(default)g")
    found.add_argument("--quick", action="store_true", help="small networks, one round: to see that the code runs")
    found.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    found.add_argument("--data", type=Path, help="folder of CIFAR-10's files; default: noise of their size")
    found.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the JSON file")
    found.add_argument("--bring", type=Path, metavar="FOLDER", help="collect there what the machine with the GPU may lack, and end")
    found.add_argument("--brought", type=Path, metavar="FOLDER", help="where that was collected")
    found.add_argument("--predict", action="store_true", help="write what bytes and launches let expect, without a device, and end")
    found.add_argument(
        "--evidence", type=Path, metavar="CIFAR10", help="compare preresnet20 plain and SE over ten seeds, and end (15 minutes)"
    )
    found.add_argument("--jobs", type=int, default=5, help="runs at a time, with --evidence")
    for hidden in ("--part", "--warm", "--folder"):
        found.add_argument(hidden, help=argparse.SUPPRESS)
    return found


def environment(args: argparse.Namespace, folder: Path) -> dict[str, str]:
    """Return the variables of the parts: where they import from, and caches that they share."""
    paths = [str(ROOT / "src"), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    if args.brought:
        paths.append(str(args.brought.resolve() / "site"))
    caches = {"TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"), "TRITON_CACHE_DIR": str(folder / "triton")}
    return (
        dict(os.environ)
        | caches
        | {"PYTHONPATH": os.pathsep.join(paths), "TORCHINDUCTOR_FX_GRAPH_CACHE": "1", "TORCHINDUCTOR_AUTOGRAD_CACHE": "1"}
    )


def whole(args: argparse.Namespace) -> int:
    """Run the parts one after the other, write after each what there is, and print the verdicts."""
    from benchmarks.gpu.parts import BETWEEN, PARTS, fitting
    from benchmarks.gpu.processes import start
    from benchmarks.gpu.report import show, write

    letters = args.parts.split(",") if args.parts else list(PARTS)
    if unknown := [letter for letter in letters if letter not in PARTS]:
        print(
            f"no part {unknown[0]!r}; there are: {', '.join(f'{letter} ({part.about})' for letter, part in PARTS.items())}", file=sys.stderr
        )
        return 2
    on_cuda = args.device == "cuda"
    if on_cuda:
        import torch

        if not torch.cuda.is_available():
            print("there is no CUDA device here; --device cpu --quick runs the code without one", file=sys.stderr)
            return 2
    began, whole, measures, ends = time.monotonic(), 60 * args.minutes - BETWEEN, {}, {}
    chosen = fitting(letters, whole) if on_cuda else letters
    if left_out := ",".join(letter for letter in letters if letter not in chosen):
        print(f"no time for {left_out}; afterwards: --parts {left_out}", file=sys.stderr, flush=True)
    if not chosen:
        return 2
    with TemporaryDirectory(ignore_cleanup_errors=True) as name:  # compilers may write there still
        folder = Path(name)
        words = ["--device", args.device, "--folder", name, *(["--quick"] if args.quick else [])]
        words += ["--data", str(args.data.resolve())] if args.data else []
        caches = environment(args, CACHES if on_cuda else folder)

        def started(letter: str) -> "Started":
            return start(["--part", letter, *words], caches | dict(PARTS[letter].environment))

        waiting = started(chosen[0])
        for letter, following in zip(chosen, [*chosen[1:], None], strict=True):
            part, file, current = PARTS[letter], folder / f"part-{letter}.json", waiting
            left = whole - (time.monotonic() - began)
            promised = sum(PARTS[other].seconds for other in chosen[chosen.index(letter) + 1 :])
            print(f"{letter}: {part.about}", file=sys.stderr, flush=True)
            if following is not None:
                waiting = started(following)  # it imports what it needs meanwhile
            try:
                ends[letter] = current.finish(min(left, max(part.seconds, left - promised)) if on_cuda else 600.0)
            except BaseException:
                for process in {current, waiting}:
                    process.end()
                raise
            if file.is_file():
                measures |= json.loads(file.read_text(encoding="utf-8"))
            write(args, measures, ends)
    path = write(args, measures, ends)
    print(path)
    return show(json.loads(path.read_text(encoding="utf-8")))


def one_part(args: argparse.Namespace) -> int:
    """Import what a part needs, wait for a line, measure it in this process, and write each of its measures at once."""
    from benchmarks.gpu.parts import PARTS

    found: dict[str, Any] = {}
    measures, place = PARTS[args.part].measures(), place_of(args)
    if not sys.stdin.readline():  # all is imported: the part before may still measure
        return 1
    for key, measure in measures(place):
        found[key] = measure
        file = Path(args.folder) / f"part-{args.part}.json"
        file.with_suffix(".new").write_text(json.dumps(found), encoding="utf-8")
        file.with_suffix(".new").replace(file)
    return 0


def place_of(args: argparse.Namespace) -> Any:
    """Return where and how a part measures."""
    import torch

    from benchmarks.gpu.place import Place

    torch.manual_seed(0)
    return Place(args.device, args.quick, args.data, Path(args.folder))


def main(argv: list[str] | None = None) -> int:
    """Do what the command line says."""
    args = parser().parse_args(argv)
    if args.brought:
        sys.path.append(str(args.brought.resolve() / "site"))
    if args.part or args.warm:
        from senet.data.workers import signal_at_parents_end

        signal_at_parents_end(signal.SIGKILL)
    if args.bring:
        from benchmarks.gpu.bring import bring

        return bring(args.bring)
    if args.predict:
        from benchmarks.gpu.predict import main as predict

        return predict(args.out)
    if args.evidence:
        from benchmarks.gpu.evidence import gather

        return gather(args.evidence, args.jobs, environment(args, CACHES))
    if args.warm:
        from benchmarks.gpu.warm import warm_one

        warm_one(place_of(args), int(args.warm))
        return 0
    return one_part(args) if args.part else whole(args)


if __name__ == "__main__":
    sys.exit(main())
