"""Write trained networks in 8 bits, and measure what that costs and saves: `python -m benchmarks.quantization RUN --data.root DIR`.

RUN is a trained classifier, on its validation images; beside it the MobileNetV3-Small of the shared data is measured on its photographs
($SENET_TEST_DATA, else ../shared/data). Ranges come from 200 images, the metric from others. Times are ratios to the float32 file in the
same engine, of one image, in interleaved rounds.
"""

import argparse
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from tests.trained_mobilenet import photographs, trained_mobilenet
from torch import Tensor, nn

from benchmarks.run import COMMITTED, RESULTS, result_path
from senet.atomic import write_text
from senet.benchmarking.files import run_in_onnxruntime, run_in_openvino
from senet.compression.compress import top1_scores
from senet.deploy.export import export_onnx
from senet.deploy.onnx_network import OnnxNetwork
from senet.deploy.quantize import quantize
from senet.measuring.machine import bench_environment
from senet.measuring.scores import Measure, Scores, points_lost
from senet.measuring.timing import interleave, ratio
from senet.training.measured import ValidationSet
from senet.training.members import load_members

CALIBRATION = 200
FORMS: tuple[dict[str, Any], ...] = (
    {"gates": "int8", "calibration": "minmax"},
    {"gates": "float", "calibration": "minmax"},
    {"gates": "int8", "calibration": "entropy"},
    {"gates": "float", "calibration": "entropy"},
    {"gates": "int8"},
    {"gates": "weights"},
    {"gates": "float"},
    {"gates": "float", "float_layers": 2},
    {"gates": "float", "float_layers": 4},
)
"""Options of `quantize`; those that are also timed have the default calibration."""
ENGINES: dict[str, Callable[[Path, Tensor], Callable[[], object]]] = {"onnxruntime": run_in_onnxruntime, "openvino": run_in_openvino}


@dataclass(frozen=True)
class Subject:
    """A trained network, images to find ranges on, and what it is measured by on others."""

    about: str
    model: nn.Module
    calibration: Sequence[Tensor]
    measure: Measure
    fixed_size: bool = False


def of_run(run: str, root: str, limit: int) -> Subject:
    """Return a run's network with its validation images."""
    (member,) = load_members(run, torch.device("cpu"))
    calibration, others = ValidationSet.of(member, {"data.root": root}, device="cpu", limit=limit).split(CALIBRATION)
    name = getattr(member.model, "config").name  # noqa: B009 - any network of the zoo
    about = f"{name}, {len(others)} validation images"
    return Subject(about, member.model, [batch.images for batch in calibration.batches()], others.measure)


def of_mobilenet(limit: int) -> Subject:
    """Return the shared data's MobileNetV3-Small with photographs."""
    images, classes = photographs(Path(os.environ.get("SENET_TEST_DATA", "../shared/data")), 1000)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:limit]
    ranges, others = order[:CALIBRATION], order[CALIBRATION:]

    batches = [(images[part], classes[part]) for part in others.split(50)]

    def measure(model: nn.Module) -> Scores:
        return top1_scores(model, batches)

    model = trained_mobilenet(Path(os.environ.get("SENET_TEST_DATA", "../shared/data")))
    return Subject(f"MobileNetV3-Small, {len(others)} photographs", model, images[ranges].split(50), measure, fixed_size=True)


def rows(subject: Subject, folder: Path, rounds: int) -> Iterator[dict[str, Any]]:
    """Yield what each form of a network costs and saves, the float32 file first."""
    plain = folder / "float.onnx"
    export_onnx(subject.model, plain, subject.calibration[0][:2], verify=False, fixed_size=subject.fixed_size)
    before = subject.measure(OnnxNetwork(plain))
    yield {"form": {}, "metric": before.value, "bytes": plain.stat().st_size}
    for index, form in enumerate(FORMS):
        file = folder / f"{index}.onnx"
        report = quantize(subject.model, subject.calibration, file, fixed_size=subject.fixed_size, **form)
        after = subject.measure(OnnxNetwork(file))
        found = {"form": form, "metric": after.value, "loss": points_lost(before, after).to_dict(), "bytes": report.bytes}
        found |= {"error": report.error, "agreement": report.agreement}
        yield found | ({} if "calibration" in form else {"times": dict(times(plain, file, subject.calibration[0][:1], rounds))})


def times(plain: Path, file: Path, image: Tensor, rounds: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield each engine's time for a file over that for the float32 file."""
    for name, run in ENGINES.items():
        found = interleave({"float": run(plain, image), "int8": run(file, image)}, rounds=rounds)
        yield name, ratio(found["int8"], found["float"]).to_dict()


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--data.root", dest="root", required=True)
    parser.add_argument("--limit", type=int, default=2200, help="images of each network at most, those for ranges among them")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    facts = bench_environment(packages=("onnx", "onnxruntime", "openvino"), sources=COMMITTED)
    networks: dict[str, list[dict[str, Any]]] = {}
    for subject in (of_run(args.run, args.root, args.limit), of_mobilenet(args.limit)):
        table = Table("form", "metric", "loses", "agrees", "MiB", *ENGINES, title=subject.about)
        with TemporaryDirectory() as folder:
            for row in rows(subject, Path(folder), args.rounds):
                networks.setdefault(subject.about, []).append(row)
                form = ", ".join(f"{name} {value}" for name, value in row["form"].items()) or "float32"
                loss = f"{row['loss']['points']:.2f}" if "loss" in row else ""
                agrees = f"{100 * row['agreement']:.1f}" if "agreement" in row else ""
                ratios = (f"{row['times'][engine]['cpu']:.2f}" if "times" in row else "" for engine in ENGINES)
                table.add_row(form, f"{row['metric']:.2f}", loss, agrees, f"{row['bytes'] / 2**20:.2f}", *ratios)
                print(form, json.dumps(row), flush=True)
        Console(width=140).print(table)
    path = result_path(args.out, "quantization", facts)
    write_text(path, json.dumps({"benchmark": "quantization", **facts, "networks": networks}, indent=2) + "\n")


if __name__ == "__main__":
    main()
