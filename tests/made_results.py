"""Results built from small real numbers: CIFAR-like accuracies, not runs."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from senet.analysis.excitation import GateCurve, Panel
from senet.measuring.timing import Timing, ratio
from senet.recipe import Recipe, load_recipe
from senet.results.cases import CASE_RANKS, Cases, ImageCase, PictureFile, VariantCase, digest_of
from senet.results.comparison import DataFacts, Result, SeedRun, VariantResult
from senet.results.cost import Duration, VariantCost
from senet.results.metric import Metric
from senet.results.tables import Tables

TOP1 = Metric("top1", "top-1", "%", accuracy=True)
GATES = ("SE_1_1 (encoder1.a_path_without_any_place_to_break_it.sse): 0.47 to 0.85", "SE_6_1 (decoder1.sse): 0.16 to 0.61")
ENVIRONMENT = {"date": "2026-11-21 10:30", "device": "cpu, 2 threads", "python": "3.11.7", "torch": "2.15.0"}


def make_result(
    finals: Mapping[str, Sequence[float]],
    *,
    epochs: int = 20,
    recipe: Recipe | None = None,
    gates: bool = True,
    metric: Metric = TOP1,
    classes: Sequence[str] = "0123456789",
    tables: bool = False,
) -> Result:
    """Return a result with these final values of the metric, one a seed, and all the rest made to fit."""
    seeds = tuple(range(len(next(iter(finals.values())))))
    base = Timing(walls=(0.0100, 0.0104, 0.0102), cpus=(0.0100, 0.0103, 0.0101))
    variants = []
    for place, (label, values) in enumerate(finals.items()):
        runs = tuple(_run(seed, value, epochs, metric) for seed, value in zip(seeds, values, strict=True))
        if tables:
            runs = tuple(replace(run, tables=_tables(run, place, metric)) for run in runs)
        timing = Timing(tuple(wall * (1 + 0.08 * place) for wall in base.walls), base.cpus)
        taken, times = Duration.of(timing), ratio(timing, base)
        cost = VariantCost(269_722 + 2_600 * place, 40_550_000 + 9_000 * place, taken, taken, times, times)
        changes = {"model.block": None if place == 0 else label.lower()}
        panels = _panels(range(0, len(classes) or 1, 1 if tables else 3), weighted=tables) if place and gates else ()
        variants.append(VariantResult(label, changes, runs, cost, panels))
    data = DataFacts("digits", tuple(classes), train_images=1202, val_images=595, input_size=(1, 1, 8, 8))
    return Result(recipe or load_recipe("digits"), (metric,), seeds, tuple(variants), data, ENVIRONMENT, "senet compare digits --seeds 3")


def _run(seed: int, final: float, epochs: int, metric: Metric) -> SeedRun:
    wave = [0.4 * ((7 * epoch + 3 * seed) % 5 - 2) * (1 - epoch / epochs) for epoch in range(1, epochs + 1)]
    errors = [(100 - final) + (90 - (100 - final)) * 0.6**epoch for epoch in range(epochs)]
    values = [min(100.0, 100 - error + w) for error, w in zip(errors, wave, strict=True)]
    if not metric.higher_is_better:  # an error that falls from four times its last value
        values = [final * (1 + 3 * 0.6**epoch) for epoch in range(epochs)]
    history = {metric.column: (*values[:-1], final), "val_loss": tuple(2.3 * error / 90 + 0.02 for error in errors)}
    return SeedRun(seed, f"seed{seed}", history)


def _tables(run: SeedRun, place: int, metric: Metric) -> Tables:
    last = run.last(metric.column)
    sizes = {"small (< 100 px)": last - 20 - 3.0 * place + 0.5 * run.seed, "large": last + 1.5 * place - 0.2 * run.seed}
    rows = {name: {metric.name: value, "iou": value - 9, "pixels": 1200} for name, value in sizes.items()}
    classes = {
        "background": {metric.name: 99.0, "pixels": 100_000},
        "nucleus": {metric.name: last, "pixels": 12_000},
        "<i>vessel": {metric.name: None, "pixels": 0},
    }
    return {"class": classes, "region size": rows}


def _panels(labels: Sequence[int], *, weighted: bool) -> tuple[Panel, ...]:
    panels = []
    for name, channels, depth in (("SE_1_3", 16, 0.05), ("SE_2_3", 32, 0.2), ("SE_3_3", 50, 0.4)):
        curves = {}
        for label in labels:
            mean = tuple(0.5 + depth * (((5 * c + label * (c % 3)) % 11) / 11 - 0.5) for c in range(channels))
            curves[label] = GateCurve(mean, tuple(0.02 + 0.1 * depth for _ in mean))
        overall = tuple(sum(values) / len(labels) for values in zip(*(curve.mean for curve in curves.values()), strict=True))
        panels.append(Panel(name, name, tuple(range(channels)), curves, overall, weighted))
    return tuple(panels)


def with_cases(result: Result, folder: Path | None = None) -> Result:
    """Return a result with three images that are shown; their pictures are written below the folder, if there is one."""
    images = []
    for place, rank in enumerate(CASE_RANKS):
        score, names = 95.0 - 20 * place, ("prediction", "difference")
        variants = tuple(
            VariantCase(
                variant.label,
                score + number,
                tuple(_picture(folder, f"{rank}-{number}", name, place) for name in names),
                tuple(_picture(folder, f"{rank}-{number}-gates", name, place) for name in GATES if number == 1),
            )
            for number, variant in enumerate(result.variants)
        )
        shared = tuple(_picture(folder, f"{rank}-all", name, place) for name in ("image", "truth"))
        images.append(
            ImageCase(rank, f"<i>{rank}.png", score, "slice 3 of 9" if place else "", (96 << place, 64 << place), shared, variants)
        )
    legend = {"nucleus": (128, 0, 0), "missed: under-segmented": (33, 102, 172), "<i>false": (230, 97, 1)}
    return replace(result, cases=Cases(89, legend, tuple(images)), json=None if folder is None else folder / "result.json")


def _picture(folder: Path | None, stem: str, name: str, place: int) -> PictureFile:
    content, size = io.BytesIO(), (96 << min(place, 1), 64 << min(place, 1))
    Image.new("RGB", size, (40 * place, 90, 160 if name == "truth" else 60)).save(content, "WEBP")
    file = PictureFile(name, f"pictures/{stem}-{name[:6]}-{digest_of(content.getvalue())}.webp", size)
    if folder is not None:
        (folder / "pictures").mkdir(exist_ok=True)
        (folder / file.file).write_bytes(content.getvalue())
    return file
