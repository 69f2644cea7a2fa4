"""Write the README's tables of ratios from the committed results: `python -m benchmarks.table`."""

import json
import re
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from senet.atomic import write_text

ROOT = Path(__file__).parent.parent
MARKS = re.compile(r"(<!-- benchmarks (?P<pattern>\S+)(?: (?P<what>\w+))? -->\n).*?(<!-- end -->)", re.DOTALL)

Result = Mapping[str, Any]


def _time(result: Result, name: str) -> float | None:
    ratio = result["ratios"].get(name)
    return None if ratio is None else ratio["cpu"]


def _bytes(which: str, result: Result, name: str) -> float | None:
    memory = result.get("memory", {})
    return memory[name][which] / memory[result["base"]][which] if name in memory else None


QUANTITIES: dict[str, tuple[str, str, Callable[[Result, str], float | None]]] = {
    "time": ("CPU time", "medians of process-CPU time", _time),
    "saved": ("Bytes saved for backward", "distinct storages that autograd keeps, without parameters", partial(_bytes, "saved")),
    "peak": ("Peak memory of a step", "most that a step had allocated", partial(_bytes, "peak")),
}
"""What a mark asks for -> heading, how it was found, and the ratio to the first function."""


def table(pattern: str, what: str = "time") -> str:
    """Return the ratios of all results whose file matches a wildcard, as Markdown, with the circumstances below."""
    heading, how, ratio = QUANTITIES[what]
    read = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "benchmarks" / "results").glob(f"{pattern}.*.json"))]
    found = [result for result in read if any(ratio(result, name) is not None for name in result["timings"])]
    if not found:
        return "(Not measured yet: `python -m benchmarks.run`, then `python -m benchmarks.table`.)\n"
    columns = list(dict.fromkeys(name for result in found for name in result["timings"] if name != result["base"]))
    lines = ["| " + " | ".join([f"{heading} over {found[0]['base']}", *columns]) + " |", "|---" * (len(columns) + 1) + "|"]
    lines += ["| " + " | ".join([result["about"], *(_cell(ratio(result, name)) for name in columns)]) + " |" for result in found]
    return "\n".join([*lines, "", _circumstances(found, how), ""])


def _cell(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def _circumstances(found: list[dict[str, Any]], how: str) -> str:
    """Say where and when the results were found; those of one table are of one machine."""
    first = found[0]
    dates = sorted({result["date"][:10] for result in found})
    rounds = sorted({timing["rounds"] for result in found for timing in result["timings"].values()})
    spread = f"{rounds[0]} to {rounds[-1]}" if len(rounds) > 1 else str(rounds[0])
    over = f" over {spread} interleaved rounds" if how.startswith("medians") else ""
    threads = f"{first['threads']} thread{'s' * (first['threads'] > 1)}"
    return (
        f"({first['device']}, {threads}, torch {first['versions']['torch']}, {', '.join(dates)}; {how}{over}. "
        "`python -m benchmarks.run` measures, `python -m benchmarks.table` writes this table.)"
    )


def written(text: str) -> str:
    """Return a text with its marked tables written anew."""
    return MARKS.sub(lambda mark: f"{mark[1]}{table(mark['pattern'], mark['what'] or 'time')}{mark[4]}", text)


def main() -> int:
    """Write the README, or with --check say whether it is as it would be written."""
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    if "--check" in sys.argv:
        return int(written(text) != text)
    write_text(readme, written(text))
    return 0


if __name__ == "__main__":
    sys.exit(main())
