"""The pages of the documentation as tests read them: their examples by language, which of these are files, and their commands."""

import re
import shlex
from pathlib import Path

from senet.cli.main import main

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.rglob("*.md")])
FENCE = re.compile(r"^```(?P<language>[a-z]*)(?P<mark>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (\w+\.py)\n")
"""The first line of an example that is a file of its own."""


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def examples(page: Path, language: str) -> list[tuple[str, str]]:
    """Return the mark and the text of each fenced block of a language."""
    found = FENCE.finditer(page.read_text(encoding="utf-8"))
    return [(match["mark"], match["text"]) for match in found if match["language"] == language]


def shell_lines(page: Path) -> list[str]:
    return [line for language in ("sh", "bash", "console") for _, block in examples(page, language) for line in block.splitlines()]


def write_file(text: str) -> bool:
    """Write an example that is a file of its own into the working folder; return whether it is one."""
    file = FILE.match(text)
    if file:
        Path(file[1]).write_text(text, encoding="utf-8")
    return bool(file)


def run_commands(page: Path) -> None:
    """Write the files of a page into the working folder, and run its commands there one after the other."""
    for _, text in examples(page, "python"):
        write_file(text)
    for line in shell_lines(page):
        program, *words = shlex.split(line, comments=True)
        assert program == "senet", line
        assert main(words) == 0, line
