"""Kept comparisons on real data: what their pages and texts say is what their results hold."""

import json
from pathlib import Path

import pytest

from senet.measuring.numbers import mean_sd
from senet.results.comparison import Result
from senet.results.tables import cells_of, difference_words

EVIDENCE = Path(__file__).parents[1] / "benchmarks" / "results" / "evidence"
KEPT = sorted(path.parent for path in EVIDENCE.glob("*/result.json"))


def three_figures(loss: dict) -> str:
    """Return points lost with their interval, as texts have them."""
    points, low, high = (f"{loss[name]:.2f}".replace("-0.00", "0.00") for name in ("points", "low", "high"))
    return f"{points} ({low} to {high})".replace("-", "\N{MINUS SIGN}")


def test_comparisons_are_kept() -> None:
    assert {"nuclei", "bccd", "bccd_finetuned", "pruning_latency0.7", "pruning_latency0.5"} <= {folder.name for folder in KEPT}


@pytest.mark.parametrize("folder", KEPT, ids=lambda folder: folder.name)
class TestKept:
    def test_text_holds_every_figure_and_difference(self, folder: Path) -> None:
        result, text = Result.read(folder / "result.json"), (folder / "README.md").read_text()
        for variant in result.variants:
            assert mean_sd(variant.last(result.primary.column), result.primary.decimals) in text
        for difference in result.differences.values():
            assert difference_words(difference, result.primary) in text

    def test_text_holds_the_device_and_the_command(self, folder: Path) -> None:
        result, text = Result.read(folder / "result.json"), (folder / "README.md").read_text()
        for said in (result.environment["date"], result.environment["torch"], result.environment["device"].partition(",")[0]):
            assert said in text
        assert result.command.partition(" --vary")[0] in text

    def test_page_is_of_the_result_and_small_enough_to_be_read_anywhere(self, folder: Path) -> None:
        page = (folder / "report.html").read_text()
        assert len(page.encode()) < 3_000_000
        for run in (run for variant in Result.read(folder / "result.json").variants for run in variant.runs):
            assert not Path(run.folder).is_absolute()
        assert Result.read(folder / "result.json").summary.partition(". ")[0] in page


@pytest.mark.parametrize("folder", sorted(path.parent for path in EVIDENCE.glob("*/analysis.json")), ids=lambda folder: folder.name)
def test_what_gates_are_worth_is_told_as_it_was_measured(folder: Path) -> None:
    found, text = json.loads((folder / "analysis.json").read_text()), (folder / "README.md").read_text()
    assert f"{found['value']:.2f}" in text
    assert found["environment"]["versions"]["torch"] in text
    for effect in found["effects"]:
        name = effect["name"].partition(".block")[0]
        rows = [line for line in text.splitlines() if line.startswith(f"| {name} |")]
        for loss in (effect["losses"][mode] for mode in ("channel", "none")):
            words = three_figures(loss)
            assert any(words in row or (words == "0.00 (0.00 to 0.00)" and "| 0 |" in row) for row in rows), (name, words)


@pytest.mark.parametrize("file", sorted(EVIDENCE.glob("*/fold*.json")), ids=lambda file: file.parent.name)
def test_fold_curves_are_told_as_they_were_measured(file: Path) -> None:
    found, text = json.loads(file.read_text()), (file.parent / "README.md").read_text()
    assert three_figures(found["lost"]) in text
    assert f"{min(step['params'] for step in found['steps'] if step['taken']):,}" in text


def test_small_nuclei_are_told_as_the_tables_of_the_runs_have_them() -> None:
    result, text = Result.read(EVIDENCE / "nuclei" / "result.json"), (EVIDENCE / "nuclei" / "README.md").read_text()
    small = next(cell for cell in cells_of(result.tables, "region size", "dice") if cell.row == "small")
    for label in small.values:
        for words in filter(None, small.words(label, "plain", result.primary)):
            assert words in text


def test_parts_of_blood_cells_are_told_as_the_tables_of_the_runs_have_them() -> None:
    result, text = Result.read(EVIDENCE / "bccd" / "result.json"), (EVIDENCE / "bccd" / "README.md").read_text()
    for part in ("class", "size", "position"):
        for cell in cells_of(result.tables, part, "ap"):
            for words in filter(None, cell.words("SE", "plain", result.primary)[1:]):
                assert words in text
