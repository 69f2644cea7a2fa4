"""The pages of the blocks: there is one for each, and what they count is so."""

import pytest

from pages import DOCS
from senet import BlockSpec, build_block
from senet.blocks.kinds import FIELDS
from senet.spec import KINDS

BLOCK_PAGES = sorted((DOCS / "blocks").glob("*.md"))
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
    assert {page.stem for page in BLOCK_PAGES} == {*KINDS, "own"}


def test_the_page_of_own_blocks_explains_every_field() -> None:
    text = next(page for page in BLOCK_PAGES if page.stem == "own").read_text(encoding="utf-8")
    assert [name for name in FIELDS if f"| `{name}" not in text] == []


@pytest.mark.parametrize(("spec", "count"), FORMULAS.items(), ids=str)
def test_parameter_formulas(spec: BlockSpec, count: int) -> None:
    assert sum(p.numel() for p in build_block(spec, C).parameters()) == count
