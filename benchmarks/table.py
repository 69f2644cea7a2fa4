"""Write the README's tables of ratios from the committed results: `python -m benchmarks.table`."""

import json
import re
import sys
from pathlib import Path
from typing import Any

from senet.atomic import write_text

ROOT = Path(__file__).parent.parent
MARKS = re.compile(r"(<!-- benchmarks (?P<pattern>\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(pattern: str) -> str:
    """Return the ratios of all results whose file matches a wildcard, as Markdown, with the circumstances below."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "benchmarks" / "results").glob(f"{pattern}.*.json"))]
    columns = list(dict.fromkeys(name for result in found for name in result["timings"] if name != result["base"]))
    lines = ["| " + " | ".join([f"CPU time over {found[0]['base']}", *columns]) + " |", "|---" * (len(columns) + 1) + "|"]
    lines += ["| " + " | ".join([result["about"], *(_cell(result["ratios"].get(name)) for name in columns)]) + " |" for result in found]
    return "\n".join([*lines, "", _circumstances(found), ""])


def _cell(ratio: dict[str, float] | None) -> str:
    return "" if ratio is None else f"{ratio['cpu']:.2f}"


def _circumstances(found: list[dict[str, Any]]) -> str:
    """Say where and when the results were found; those of one table are of one machine."""
    first = found[0]
    dates = sorted({result["date"][:10] for result in found})
    rounds = sorted({timing["rounds"] for result in found for timing in result["timings"].values()})
    spread = f"{rounds[0]} to {rounds[-1]}" if len(rounds) > 1 else str(rounds[0])
    threads = f"{first['threads']} thread{'s' * (first['threads'] > 1)}"
    return (
        f"({first['device']}, {threads}, torch {first['versions']['torch']}, {', '.join(dates)}; medians of process-CPU time over {spread} "
        "interleaved rounds. `python -m benchmarks.run` measures, `python -m benchmarks.table` writes this table.)"
    )


def written(text: str) -> str:
    """Return a text with its marked tables written anew."""
    return MARKS.sub(lambda mark: f"{mark[1]}{table(mark['pattern'])}{mark[3]}", text)


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
