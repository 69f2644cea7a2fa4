"""The pages of the blocks: what they show runs, and what they count is so."""

import re
from pathlib import Path

import pytest

from senet import BlockSpec, build_block

PAGES = sorted((Path(__file__).parents[2] / "docs" / "blocks").glob("*.md"))
C, H = 64, 4  # r = 16 where the formula has h
FORMULAS = {
    BlockSpec("se", bias=False): 2 * C * H,
    BlockSpec("se"): 2 * C * H + H + C,
    BlockSpec("sse"): C + 1,
    BlockSpec("scse"): C**2 + 5 * C // 2 + 1,
    BlockSpec("scse", combine="concat"): C**2 + 5 * C // 2 + 1 + 2 * C**2 + C,
    BlockSpec("cmpe_se"): 4 * C * H,
    BlockSpec("cmpe_se", variant="pair_2x1", maps=3): 2 * C * H + 4 * 3,
    BlockSpec("cmpe_se", variant="pair_1x1", maps=3): 3 * C * H + 3 * 3,
    BlockSpec("cmpe_se", variant="folded_3x3", maps=3): (2 * 4 - 2) * (16 - 2) * H + C * H + 11 * 3,
}


def test_every_kind_has_its_page() -> None:
    assert {page.stem for page in PAGES} == {"se", "sse", "scse", "cmpe_se"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_examples_run(page: Path) -> None:
    examples = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert examples
    for example in examples:
        exec(compile(example, page.name, "exec"), {})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).is_file()


@pytest.mark.parametrize(("spec", "count"), FORMULAS.items(), ids=str)
def test_parameter_formulas(spec: BlockSpec, count: int) -> None:
    assert sum(p.numel() for p in build_block(spec, C).parameters()) == count
