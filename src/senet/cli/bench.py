"""`senet bench`: plain against recalibrated networks on this machine, by engine: time and memory."""

import json
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from senet.benchmarking.settings import BATCH, BENCH_MODES, DTYPES, Settings
from senet.cli.arguments import CommandParser, add_json, check_free, device_of, model_changes
from senet.errors import UsageError
from senet.jsontext import json_text
from senet.measuring.machine import prepare_process
from senet.recipe import build_recipe
from senet.spec import check_positive

if TYPE_CHECKING:
    from senet.benchmarking.result import BenchResult, Comparison


def add_arguments(parser: CommandParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("network", nargs="?", help="name of a network (`senet models`)")
    parser.add_argument("--engines", help="names, joined by commas; the first one's plain form is the reference; default: by mode")
    parser.add_argument("--mode", default="inference", help=" or ".join(BENCH_MODES))
    parser.add_argument("--dtype", default="fp32", help=", ".join(DTYPES))
    parser.add_argument("--batch", type=int, help=f"images in a batch; default: {BATCH['training']} in training, else {BATCH['inference']}")
    parser.add_argument("--size", type=int, help="side of the images in pixels; default: the network's own")
    parser.add_argument("--threads", type=int, help="CPU threads; default: torch's own choice")
    parser.add_argument("--device", default="cpu", help="where to measure, such as cuda")
    parser.add_argument("--rounds", type=int, default=11, help="interleaved rounds")
    parser.add_argument("--max-seconds", type=float, default=60.0, help="no new round begins after so long; three always run")
    parser.add_argument("--out", help="JSON file to write")
    parser.add_argument("--plot", help="picture of the overheads to write, an .svg file")
    parser.add_argument("--force", action="store_true", help="write over files that are there")
    parser.add_argument("--from", dest="saved", nargs="+", default=[], metavar="FILE", help="show or plot results that were written before")
    add_json(parser)
    parser.takes_recipe = True
    parser.epilog = (
        "The network's options are flags, as in a recipe: --block scse --reduction 8 --model.options.v1_5 true. "
        "Engines: eager, fused, optimised, optimised-compiled, compiled, compiled-fused, onnxruntime, openvino (both also -exported: the "
        "graph as it is), onnxruntime-cuda, timm, pytorchcv."
    )
    parser.examples = ("senet bench resnet50 --engines optimised,eager,timm --batch 16",)


def run(args: Namespace) -> int:
    """Measure, or read what was measured; print it, write it, draw it."""
    prepare_process()
    _check_targets(args)
    if args.saved:
        if args.network or args.changes or args.out:
            raise UsageError("--from shows results that are there: leave out the network, its options and --out")
        found = [(path, _read(path)) for path in args.saved]
        _show_saved(found, as_json=args.json)
        _draw([comparison for _, (_, comparisons) in found for comparison in comparisons], args.plot)
        return 0
    if args.network is None:
        raise UsageError("name a network, such as resnet50 (`senet models` lists them), or results with --from")
    settings = Settings(args.mode, args.dtype, args.device, args.rounds, args.max_seconds)
    for flag, number in (("--batch", args.batch), ("--size", args.size), ("--threads", args.threads)):
        if number is not None:
            check_positive(flag, number)
    from senet.cli.printing import show

    result = _measured(args, settings)
    show(result, as_json=args.json)
    if any(comparison.interrupted for comparison in result.comparisons):
        raise KeyboardInterrupt
    if args.out:
        from senet.atomic import write_text

        write_text(args.out, json_text(result.to_dict()) + "\n")
    _draw(result.comparisons, args.plot)
    return 0


def _check_targets(args: Namespace) -> None:
    """Raise UsageError if what is to be written cannot be: before anything is measured."""
    for path in filter(None, (args.out, args.plot)):
        check_free(path, force=args.force)
    if args.plot and Path(args.plot).suffix != ".svg":
        raise UsageError(f"--plot writes .svg, got {args.plot!r}; a browser or an image editor makes other formats of it")


def _measured(args: Namespace, settings: Settings) -> "BenchResult":
    """Build the network on its engines and compare them."""
    from tempfile import TemporaryDirectory

    import torch

    from senet.benchmarking.engines import check_engines, packages_of
    from senet.benchmarking.result import BenchResult
    from senet.benchmarking.run import measure_network
    from senet.benchmarking.workload import workload
    from senet.measuring.machine import bench_environment
    from senet.terminal import Terminal, literal

    device_of(settings.device)
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    engines = args.engines.split(",") if args.engines else []
    with Terminal(stderr=True).status(literal(f"building {args.network}")) as status, TemporaryDirectory() as folder:
        check_engines(engines, settings)
        recipe = build_recipe({"model": {}}, model_changes(args.changes)).model
        options = recipe.recalibration.to_dict() | recipe.options
        work = workload(args.network, settings, Path(folder), batch=args.batch, size=args.size, **options)
        comparison = measure_network(work, engines, lambda what: status.update(literal(what)))
    asked = {name: getattr(args, name) for name in ("network", "batch", "size")} | {"engines": engines or None} | args.changes
    return BenchResult(bench_environment(settings.device, packages_of(engines)), asked | settings.to_dict(), (comparison,))


def _read(path: str) -> "tuple[dict[str, Any], tuple[Comparison, ...]]":
    """Return what a file of results holds, as data and as comparisons."""
    from senet.benchmarking.result import comparisons_of

    try:
        tree = json.loads(Path(path).read_text(encoding="utf-8"))
        return tree, comparisons_of(tree)
    except OSError as error:
        raise UsageError(f"cannot read {path!r}: {error.strerror}") from error
    except (UsageError, ValueError, AttributeError, TypeError, KeyError) as error:
        raise UsageError(f"{path!r} is no result of `senet bench`: {error}") from error


def _show_saved(found: "list[tuple[str, tuple[dict[str, Any], tuple[Comparison, ...]]]]", *, as_json: bool) -> None:
    from senet.benchmarking.result import BenchResult
    from senet.cli.printing import show

    facts = ("device", "threads", "versions", "commit", "date")
    results = [BenchResult({fact: tree[fact] for fact in facts}, tree.get("settings", {}), comparisons) for _, (tree, comparisons) in found]
    if as_json:
        print(json_text([result.to_dict() for result in results]))
        return
    for result in results:
        show(result, as_json=False)


def _draw(comparisons: "list[Comparison] | tuple[Comparison, ...]", path: str | None) -> None:
    if path:
        from senet.report.overheads import overheads_chart
        from senet.report.picture import write_picture

        write_picture(overheads_chart(comparisons), path)
