"""Write the tables of the README and the pages from the committed results: `python -m benchmarks.table`."""

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from senet.atomic import write_text
from senet.measuring.numbers import plural

ROOT = Path(__file__).parent.parent
PAGES = (
    ROOT / "README.md",
    ROOT / "docs" / "benchmarks.md",
    ROOT / "docs" / "gpu.md",
    ROOT / "docs" / "quantization.md",
    ROOT / "docs" / "reliability.md",
    *sorted((ROOT / "docs" / "blocks").glob("*.md")),
)
MARKS = re.compile(r"(<!-- benchmarks (?P<pattern>\S+)(?: (?P<what>\w+))?(?: (?P<only>\w+))? -->\n).*?(<!-- end -->)", re.DOTALL)

Tree = Mapping[str, Any]


def _time(result: Tree, name: str) -> float | None:
    ratio = result["ratios"].get(name)
    return None if ratio is None else ratio["cpu"]


def _bytes(which: str, result: Tree, name: str) -> float | None:
    memory = result.get("memory", {})
    return memory[name][which] / memory[result["base"]][which] if name in memory else None


NOT_YET = "(Not measured yet: the command of the benchmark measures, then `python -m benchmarks.table` writes this table.)\n"
QUANTITIES: dict[str, tuple[str, str, Callable[[Tree, str], float | None]]] = {
    "time": ("CPU time", "medians of process-CPU time", _time),
    "saved": ("Bytes saved for backward", "distinct storages that autograd keeps, without parameters", partial(_bytes, "saved")),
    "peak": ("Peak memory of a step", "most that a step had allocated", partial(_bytes, "peak")),
}
"""What a mark asks for -> heading, how it was found, and the ratio to the first function."""


def table(pattern: str, what: str = "time", only: str | None = None) -> str:
    """Return what all results whose file matches a wildcard say, of one column or of all, as Markdown, with their environment below."""
    read = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "benchmarks" / "results").glob(f"{pattern}.*.json"))]
    return (TABLES[what](read) if what in TABLES else _ratio_table(read, what, only)) or NOT_YET


def _ratio_table(read: list[Tree], what: str, only: str | None) -> str:
    heading, how, ratio = QUANTITIES[what]
    found = [result for result in read if any(ratio(result, name) is not None for name in result["timings"])]
    if not found:
        return ""
    columns = list(dict.fromkeys(name for result in found for name in result["timings"] if only in (None, name) and name != result["base"]))
    lines = ["| " + " | ".join([f"{heading} over {found[0]['base']}", *columns]) + " |", "|---" * (len(columns) + 1) + "|"]
    lines += ["| " + " | ".join([result["about"], *(_cell(ratio(result, name)) for name in columns)]) + " |" for result in found]
    rounds = sorted({timing["rounds"] for result in found for timing in result["timings"].values()})
    spread = f"{rounds[0]} to {rounds[-1]}" if len(rounds) > 1 else str(rounds[0])
    over = f" over {spread} interleaved rounds" if how.startswith("medians") else ""
    return "\n".join([*lines, "", _provenance(found, f"{how}{over}", "run"), ""])


def breakdown_table(read: list[Tree]) -> str:
    """Return the milliseconds of each group of operators, as Markdown; empty if there are no profiles."""
    lines = []
    for result in read:
        columns = result["milliseconds"]
        lines += ["| " + " | ".join([result["about"], *columns]) + " |", "|---" * (len(columns) + 1) + "|"]
        lines += [
            "| " + " | ".join([row, *(f"{column[row]:.0f}" for column in columns.values())]) + " |" for row in next(iter(columns.values()))
        ]
        lines += ["| " + " | ".join(["all", *(f"{sum(column.values()):.0f}" for column in columns.values())]) + " |"]
        lines += ["", _provenance([result], f"mean of {result['steps']} steps under the profiler of torch", "breakdown"), ""]
    return "\n".join(lines)


def promises_table(read: list[Tree]) -> str:
    """Return what was promised of a GPU, what devices gave by commit, and what is predicted, as Markdown; empty if there is nothing."""
    measured = sorted((result for result in read if result["benchmark"] == "gpu"), key=lambda result: result["date"])
    columns = [(f"{result['device']}, {result['commit'][:7]}", "value", "", result) for result in measured]
    columns += [("predicted", "predicted", " --predict", result) for result in read if result["benchmark"] != "gpu"]
    if not columns:
        return ""
    lines = ["| " + " | ".join(["", "a16d6e0", "target", *(heading for heading, *_ in columns)]) + " |", "|---" * (len(columns) + 3) + "|"]
    for place, promise in enumerate(read[0]["targets"]):
        name = f"{promise['about']}{promise['unit'] and ', ' + promise['unit']}"
        found = [result["targets"][place][figure] for _, figure, _, result in columns]
        lines.append("| " + " | ".join([name, *map(_figure, (promise["before"], promise["limit"], *found))]) + " |")
    said = [
        f"{heading}: `python -m benchmarks.gpu{flag}`, torch {result['versions']['torch']}, {result['date'][:10]}"
        for heading, _, flag, result in columns
    ]
    return "\n".join([*lines, "", f"({'; '.join(said)}. `python -m benchmarks.table` writes this table.)", ""])


def quantization_table(read: list[Tree]) -> str:
    """Return what each form in 8 bits of each network costs and saves, as Markdown; empty if there is nothing."""
    lines = []
    for result in read:
        for about, rows in result["networks"].items():
            lines += [f"| {about} | top-1 % | points lost | agrees % | MiB | ONNX Runtime | OpenVINO |", "|---" * 7 + "|"]
            for row in rows:
                form = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in row["form"].items()) or "float32"
                loss, agrees = row.get("loss"), row.get("agreement")
                lost = f"{loss['points']:.2f} ({loss['low']:.2f} to {loss['high']:.2f})" if loss else ""
                times = [_cell(row["times"][name]["cpu"] if "times" in row else None) for name in ("onnxruntime", "openvino")]
                cells = [form, f"{row['metric']:.2f}", lost, f"{100 * agrees:.1f}" if agrees else "", f"{row['bytes'] / 2**20:.2f}", *times]
                lines.append("| " + " | ".join(cells) + " |")
            lines.append("")
        how = "times are medians of CPU time, one image, over the float32 file's in that engine; agreement is on the images of the ranges"
        lines += [_provenance([result], how, "quantization"), ""]
    return "\n".join(lines)


def scaling_table(read: list[Tree]) -> str:
    """Return how many times the rate of one process several reach, as Markdown; empty if there is nothing."""
    lines = []
    for result in read:
        counts = list(next(iter(result["efficiency"].values())))
        lines += ["| images of a step | " + " | ".join(f"{count} processes" for count in counts[1:]) + " |", "|---" * len(counts) + "|"]
        lines += [
            f"| {batch} | " + " | ".join(_cell(found[count]) for count in counts[1:]) + " |"
            for batch, found in result["efficiency"].items()
        ]
        rounds = len(next(iter(result["images_a_second"].values()))["1"])
        how = f"{result['processors']} processors; medians of images a second over {rounds} interleaved rounds"
        lines += ["", _provenance([result], how, "scaling"), ""]
    return "\n".join(lines)


def shards_table(read: list[Tree]) -> str:
    """Return how many times the images a second of the base each reader gives, as Markdown; empty if there is nothing."""
    lines = []
    for result in read:
        names = [name for name in next(iter(result["ratios"].values()))["wall"] if name != result["base"]]
        lines += ["| " + " | ".join(["", *(f"{name} / {result['base']}" for name in names), "by CPU time"]) + " |"]
        lines += ["|---" * (len(names) + 2) + "|"]
        lines += [
            f"| {case} | "
            + " | ".join(_cell(ratio["wall"][name]) for name in names)
            + " | "
            + ", ".join(_cell(ratio["cpu"][name]) for name in names)
            + " |"
            for case, ratio in result["ratios"].items()
        ]
        rounds = len(next(iter(result["times"].values())))
        lines += ["", _provenance([result], f"medians over {rounds} rounds", f"shards --root OUT --rounds {rounds}"), ""]
    return "\n".join(lines)


def checkpointing_table(read: list[Tree]) -> str:
    """Return what a save holds its steps up, waited for and beside them, as Markdown; empty if there is nothing."""
    lines = []
    for result in read:
        lines += [
            "| network, checkpoint, step | save | a step waits, ms | all it costs, ms | of a step | of the time between saves |",
            "|---" * 6 + "|",
        ]
        for name, found in result["networks"].items():
            about = f"{name}, {found['megabytes']:.1f} MB, {found['step_ms']:.0f} ms"
            for way, costs in found["saves"].items():
                shares = f"{100 * costs['share_of_a_step']:.1f} % | {100 * costs['share_of_the_interval']:.4f} %"
                lines.append(f"| {about} | {way} | {costs['save_ms']:.1f} | {costs['extra_ms']:.1f} | {shares} |")
        rounds = next(iter(result["networks"].values()))["rounds"]
        how = f"medians over {rounds} interleaved rounds; an epoch of CIFAR-10 and of ImageNet lies between saves"
        lines += ["", _provenance([result], how, "checkpointing"), ""]
    return "\n".join(lines)


def soak_table(read: list[Tree]) -> str:
    """Return which faults runs survived, what was lost, and what grew, as Markdown; empty if there is nothing."""
    lines = []
    for result in read:
        lines += ["| fault | tried | survived |", "|---|---|---|"]
        lines += [f"| {fault} | {found['tried']} | {found['survived']} |" for fault, found in result["faults"].items()]
        counted = [sum(found[what] for found in result["faults"].values()) for what in ("tried", "survived")]
        lost, restarts = result["samples_lost_or_repeated"], result["restart_seconds"]
        times = f"{restarts['median']:.1f}, {restarts['max']:.1f}"
        lines += [f"| all | {counted[0]} | {counted[1]} |", "", "| | |", "|---|---|"]
        lines += [f"| runs in one process, in two | {result['runs'].get('1', 0)}, {result['runs'].get('2', 0)} |"]
        lines += [
            f"| runs that ended otherwise than an undisturbed one, or not by themselves | {len(result['wrong'])}, {len(result['stuck'])} |"
        ]
        lines += [f"| images lost or taken twice | {'not known' if lost is None else lost} |"]
        lines += [f"| seconds from a start after a fault to its first checkpoint, median and longest | {times} |"]
        for name, grown in result["undisturbed"]["growth"].items():
            middle, last = grown["second_third"], grown["last_third"]
            lines.append(f"| undisturbed process, second and last third: {USED[name]} | {middle:g}, {last:g} |")
        how = f"{result['minutes']:g} minutes, faults drawn with seed {result['seed']}"
        lines += ["", _provenance([result], how, "soak"), ""]
    return "\n".join(lines)


USED = {"rss_mb": "resident memory, MB", "files": "open files", "threads": "threads"}

TABLES: dict[str, Callable[[list[Tree]], str]] = {
    "breakdown": breakdown_table,
    "checkpointing": checkpointing_table,
    "promises": promises_table,
    "quantization": quantization_table,
    "scaling": scaling_table,
    "shards": shards_table,
    "soak": soak_table,
}
"""What a mark asks for, beside ratios -> the table."""


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}".rstrip("0").rstrip(".")


def _cell(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def _provenance(found: Sequence[Tree], how: str, command: str) -> str:
    """Say where, when and how the results were found; those of one table are of one machine."""
    first = found[0]
    dates = sorted({result["date"][:10] for result in found})
    threads = plural(first["threads"], "thread")
    return (
        f"({first['device']}, {threads}, torch {first['versions']['torch']}, {', '.join(dates)}; {how}. "
        f"`python -m benchmarks.{command}` measures, `python -m benchmarks.table` writes this table.)"
    )


def written(text: str) -> str:
    """Return a text with its marked tables written anew."""
    return MARKS.sub(lambda mark: f"{mark[1]}{table(mark['pattern'], mark['what'] or 'time', mark['only'])}{mark[5]}", text)


def main() -> int:
    """Write the pages, or with --check say whether they are as they would be written."""
    texts = {page: page.read_text(encoding="utf-8") for page in PAGES}
    if "--check" in sys.argv:
        return int(any(written(text) != text for text in texts.values()))
    for page, text in texts.items():
        write_text(page, written(text))
    return 0


if __name__ == "__main__":
    sys.exit(main())
