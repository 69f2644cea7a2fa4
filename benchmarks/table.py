"""Write the tables of the README and the pages from the committed results: `python -m benchmarks.table`."""

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.scaling import SHARES
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
    rows = [[result["about"], *(_cell(ratio(result, name)) for name in columns)] for result in found]
    rounds = sorted({timing["rounds"] for result in found for timing in result["timings"].values()})
    spread = f"{rounds[0]} to {rounds[-1]}" if len(rounds) > 1 else str(rounds[0])
    over = f" over {spread} interleaved rounds" if how.startswith("medians") else ""
    lines = _lines([f"{heading} over {found[0]['base']}", *columns], rows)
    return "\n".join([*lines, "", _provenance(found, f"{how}{over}", "run"), ""])


def promises_table(read: list[Tree]) -> str:
    """Return what was promised of a GPU, what devices gave by commit, and what is predicted, as Markdown; empty if there is nothing."""
    measured = sorted((result for result in read if result["benchmark"] == "gpu"), key=lambda result: result["date"])
    columns = [(f"{result['device']}, {result['commit'][:7]}", "value", "", result) for result in measured]
    columns += [("predicted", "predicted", " --predict", result) for result in read if result["benchmark"] != "gpu"]
    if not columns:
        return ""
    rows = []
    for place, promise in enumerate(read[0]["targets"]):
        name = f"{promise['about']}{promise['unit'] and ', ' + promise['unit']}"
        found = [result["targets"][place][figure] for _, figure, _, result in columns]
        rows.append([name, *map(_figure, (promise["before"], promise["limit"], *found))])
    said = [
        f"{heading}: `python -m benchmarks.gpu{flag}`, torch {result['versions']['torch']}, {result['date'][:10]}"
        for heading, _, flag, result in columns
    ]
    lines = _lines(["", "a16d6e0", "target", *(heading for heading, *_ in columns)], rows)
    return "\n".join([*lines, "", f"({'; '.join(said)}. `python -m benchmarks.table` writes this table.)", ""])


Shown = tuple[list[str], str, str]
"""Lines of Markdown of one result, how it was found, and the command."""


def breakdown(result: Tree) -> Shown:
    """Return the milliseconds of each group of operators."""
    columns = result["milliseconds"].values()
    rows = [[row, *(f"{column[row]:.0f}" for column in columns)] for row in next(iter(columns))]
    rows.append(["all", *(f"{sum(column.values()):.0f}" for column in columns)])
    how = f"mean of {result['steps']} steps under the profiler of torch"
    return _lines([result["about"], *result["milliseconds"]], rows), how, "breakdown"


def quantization(result: Tree) -> Shown:
    """Return what each form in 8 bits of each network costs and saves."""
    lines = []
    for about, forms in result["networks"].items():
        rows = []
        for row in forms:
            form = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in row["form"].items()) or "float32"
            loss, agrees = row.get("loss"), row.get("agreement")
            lost = f"{loss['points']:.2f} ({loss['low']:.2f} to {loss['high']:.2f})" if loss else ""
            times = [_cell(row["times"][name]["cpu"] if "times" in row else None) for name in ("onnxruntime", "openvino")]
            rows.append(
                [form, f"{row['metric']:.2f}", lost, f"{100 * agrees:.1f}" if agrees else "", f"{row['bytes'] / 2**20:.2f}", *times]
            )
        lines += ["", *_lines([about, "top-1 %", "points lost", "agrees %", "MiB", "ONNX Runtime", "OpenVINO"], rows)]
    how = "times are medians of CPU time, one image, over the float32 file's in that engine; agreement is on the images of the ranges"
    return lines[1:], how, "quantization"


def scaling(result: Tree) -> Shown:
    """Return which share of so many times the rate of one process several reach, and what it is the product of."""
    rows = [[case, *map(_cell, found.values())] for case, found in result["shares"].items()]
    rounds = len(next(iter(result["images_a_second"].values()))["alone"])
    how = f"{result['processors']} processors; medians of images a second over {rounds} interleaved rounds"
    return _lines(["images of a step by processes", *SHARES.values()], rows), how, "scaling"


def shards(result: Tree) -> Shown:
    """Return how many times the images a second of the base each reader gives."""
    names = [name for name in next(iter(result["ratios"].values()))["wall"] if name != result["base"]]
    rows = [
        [case, *(_cell(ratio["wall"][name]) for name in names), ", ".join(_cell(ratio["cpu"][name]) for name in names)]
        for case, ratio in result["ratios"].items()
    ]
    rounds = len(next(iter(result["times"].values())))
    lines = _lines(["", *(f"{name} / {result['base']}" for name in names), "by CPU time"], rows)
    return lines, f"medians over {rounds} rounds", f"shards --root OUT --rounds {rounds}"


def checkpointing(result: Tree) -> Shown:
    """Return what a save holds its steps up, waited for and beside them."""
    rows = [
        [
            f"{name}, {found['megabytes']:.1f} MB, {found['step_ms']:.0f} ms",
            way,
            f"{costs['waits_ms']:.1f}",
            f"{100 * costs['waits_of_a_step']:.1f} %",
            f"{costs['extra_ms']:.1f}",
            f"{100 * costs['extra_of_the_interval']:.4f} %",
        ]
        for name, found in result["networks"].items()
        for way, costs in found["saves"].items()
    ]
    heads = ["network, checkpoint, step", "save", "a step waits, ms", "of the step", "all it costs, ms", "of the time between saves"]
    rounds = next(iter(result["networks"].values()))["rounds"]
    how = f"medians over {rounds} interleaved rounds; an epoch of CIFAR-10 and of ImageNet lies between saves"
    return _lines(heads, rows), how, "checkpointing"


USED = {"rss_mb": "resident memory, MB", "files": "open files", "threads": "threads"}
"""What a soak looks at -> how it is called."""


def soak(result: Tree) -> Shown:
    """Return which faults runs survived, what was lost, and what grew."""
    faults = [[fault, found["tried"], found["survived"]] for fault, found in result["faults"].items()]
    faults.append(["all", *(sum(found[what] for found in result["faults"].values()) for what in ("tried", "survived"))])
    lost, restarts = result["samples_lost_or_repeated"], result["restart_seconds"]
    times = f"{restarts['median']:.1f}, {restarts['max']:.1f}"
    ends = [
        ["runs in one process, in two", f"{result['runs'].get('1', 0)}, {result['runs'].get('2', 0)}"],
        ["runs that ended otherwise than an undisturbed one, or not by themselves", f"{len(result['wrong'])}, {len(result['stuck'])}"],
        ["images lost or taken twice", "not known" if lost is None else lost],
        ["seconds from a start after a fault to its first checkpoint, median and longest", times],
    ]
    for name, grown in result["undisturbed"]["growth"].items():
        grew = f"{grown['second_third']:g}, {grown['last_third']:g}"
        ends.append([f"undisturbed process, second and last third: {USED[name]}", grew])
    how = f"{result['minutes']:g} minutes, faults drawn with seed {result['seed']}"
    return [*_lines(["fault", "tried", "survived"], faults), "", *_lines(["", ""], ends)], how, "soak"


def _each(shown: Callable[[Tree], Shown], read: list[Tree]) -> str:
    """Return what is shown of each result, with its environment below; empty if there is none."""
    lines = []
    for result in read:
        own, how, command = shown(result)
        lines += [*own, "", _provenance([result], how, command), ""]
    return "\n".join(lines)


TABLES: dict[str, Callable[[list[Tree]], str]] = {
    "promises": promises_table,
    **{shown.__name__: partial(_each, shown) for shown in (breakdown, checkpointing, quantization, scaling, shards, soak)},
}
"""What a mark asks for, beside ratios -> the table."""


def _lines(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return a table as lines of Markdown."""
    return [_row(heads), "|---" * len(heads) + "|", *map(_row, rows)]


def _row(cells: Sequence[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


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
