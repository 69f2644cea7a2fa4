"""Time the residual tail alone, plain and recalibrated, by backend: `python -m benchmarks.tails 8,256,56,56 8,2048,7,7 --mode training`."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor, nn

from senet.atomic import write_text
from senet.benchmarking.result import BenchResult
from senet.benchmarking.run import Candidates, measure, paired_candidates
from senet.benchmarking.settings import BENCH_MODES, DTYPES, Settings, shape_text
from senet.benchmarking.workload import PLAIN_FORM
from senet.blocks.build import build_block
from senet.cli.arguments import device_of, shape_of
from senet.cli.printing import show
from senet.errors import UsageError
from senet.measuring.machine import bench_environment
from senet.measuring.steps import FLOATS, InferenceStep, TrainingStep
from senet.ops.backend import BUILDERS, REFERENCE, fastest
from senet.ops.tail.call import residual_tail
from senet.spec import KINDS, BlockSpec, block_class, check_choice

BACKENDS = (REFERENCE, *BUILDERS)
"""What can run a tail."""


class ResidualTail(nn.Module):
    """End of a residual unit: relu(shortcut + SE(BN(branch))), or plainly without the block.

    Args:
        channels: channels of both maps.
        block: what recalibrates, or None.
    """

    def __init__(self, channels: int, block: BlockSpec | None) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)
        self.pairwise = block is not None and block_class(block.kind).sees_shortcut
        self.se = None if block is None else build_block(block, channels)

    def forward(self, branch: Tensor, shortcut: Tensor) -> Tensor:
        """Join branch and shortcut, (N, C, H, W) both."""
        return residual_tail(branch, shortcut, norm=self.bn, recalibrate=self.se, pairwise=self.pairwise)


def default_backends(settings: Settings) -> tuple[str, ...]:
    """Return the definition, and the backend that runs on the device where nobody asks for one."""
    return tuple(dict.fromkeys((REFERENCE, fastest(torch.device(settings.device).type).name)))


def check_backends(names: Sequence[str], settings: Settings) -> None:
    """Raise UsageError unless all backends can run on the device; what has to be built first is built."""
    for name in names:
        check_choice("backend of the tail", name, BACKENDS)
        kernels, reason = (True, "") if name == REFERENCE else BUILDERS[name](torch.device(settings.device).type)
        if kernels is None:
            raise UsageError(f"the backend {name!r} cannot run here: {reason}")


def tail_candidates(shape: Sequence[int], block: BlockSpec, backends: Sequence[str], settings: Settings) -> Candidates:
    """Build the plain and the recalibrated tail for each backend, and run each once.

    Maps have the type asked for, parameters are float32, as under autocast.

    Args:
        shape: (N, C, H, W) of branch and shortcut.
        block: what recalibrates.
        backends: what runs it.
        settings: how it is measured.
    """
    random, training = torch.Generator(settings.device).manual_seed(0), settings.mode == "training"

    def noise() -> Tensor:
        values = torch.randn(*shape, generator=random, device=settings.device)
        return values.to(settings.device, FLOATS[settings.dtype]).to(memory_format=torch.channels_last)

    maps, gradient = tuple(noise().requires_grad_(training) for _ in range(2)), noise()
    forms = {PLAIN_FORM: None, block.kind: block}
    modules = {form: ResidualTail(shape[1], spec).to(settings.device).train(training) for form, spec in forms.items()}

    def step(module: nn.Module, backend: str) -> Callable[[], object]:
        return TrainingStep(module, maps, _output, gradient, tails=backend) if training else InferenceStep(module, maps, backend)

    steps = {backend: {form: step(module, backend) for form, module in modules.items()} for backend in backends}
    for functions in steps.values():
        for function in functions.values():
            function()  # what is compiled is compiled at the first call
    return paired_candidates(steps, block.kind)


def measured(shapes: Sequence[Sequence[int]], block: BlockSpec, backends: Sequence[str], settings: Settings) -> BenchResult:
    """Compare the forms of the tail on several backends, one comparison a shape; Ctrl-C ends with the rounds that there are."""
    comparisons = []
    with Console(stderr=True).status("building the tails") as status:
        for shape in shapes:
            about = f"residual tail, {shape_text(shape)}, {settings.dtype}: {settings.mode}"
            comparisons.append(measure(tail_candidates(shape, block, backends, settings), about, settings, status=status.update))
            if comparisons[-1].interrupted:
                break
    asked = {"block": block.to_dict(), "backends": list(backends), "shapes": [list(shape) for shape in shapes]}
    return BenchResult(bench_environment(settings.device), asked | settings.to_dict(), tuple(comparisons))


def main(argv: list[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tails", description=__doc__)
    parser.add_argument("shapes", nargs="+", metavar="N,C,H,W", help="the maps of branch and shortcut")
    parser.add_argument("--block", default="se", choices=KINDS)
    parser.add_argument("--reduction", type=int, help="default: the block's")
    parser.add_argument("--backends", help=f"joined by commas, of {', '.join(BACKENDS)}; default: the definition and the fastest")
    parser.add_argument("--mode", default="training", choices=BENCH_MODES)
    parser.add_argument("--dtype", default="fp32", choices=DTYPES)
    parser.add_argument("--device", default="cpu", help="where to measure, such as cuda")
    parser.add_argument("--threads", type=int, help="CPU threads; default: torch's own choice")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--max-seconds", type=float, default=60.0, help="no new round begins after so long, for each shape")
    parser.add_argument("--out", type=Path, help="JSON file to write; `senet bench --from` shows and draws it")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    args = parser.parse_args(argv)
    try:
        settings = Settings(args.mode, args.dtype, args.device, args.rounds, args.max_seconds)
        shapes = [shape_of(text, "a shape") for text in args.shapes]
        device_of(args.device)
        block = BlockSpec(args.block, reduction=args.reduction)
        backends = args.backends.split(",") if args.backends else default_backends(settings)
        check_backends(backends, settings)
    except UsageError as error:
        parser.error(str(error))
    if args.threads:
        torch.set_num_threads(args.threads)
    result = measured(shapes, block, backends, settings)
    show(result, as_json=args.json)
    if any(comparison.interrupted for comparison in result.comparisons):
        return 130
    if args.out:
        write_text(args.out, json.dumps(result.to_dict(), indent=2) + "\n")
    return 0


def _output(output: Tensor) -> Tensor:
    return output


if __name__ == "__main__":
    sys.exit(main())
