"""An analysis of gates as a terminal shows it."""

from dataclasses import replace
from pathlib import Path

import pytest

from made_analyses import written
from made_runs import tiny
from senet.analysis.frozen import BlockEffect
from senet.measuring.scores import Loss
from senet.results.gate_analysis import loss_words
from senet.terminal import as_text
from senet.training.analyse import analyse


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (Loss(0.02, -0.05, 0.09), ("0.02", "(\N{MINUS SIGN}0.05 to 0.09)")),
        (Loss(-1.0), ("\N{MINUS SIGN}1.00", "")),
        (Loss(0.5, 0.25, 0.75, unit=""), ("0.50", "(0.25 to 0.75)")),
    ],
)
def test_loss_and_interval_are_told_apart(loss: Loss, words: tuple[str, str]) -> None:
    assert loss_words(BlockEffect("se", "SE_1_1", {"none": loss}), "none", 2) == words


def test_long_paths_of_other_libraries_are_not_cut(tmp_path: Path) -> None:
    path, _ = written(tiny(model__name="preresnet20", model__stages=[3]), tmp_path / "w.safetensors")
    found = analyse(path, limit=10, modes=("none",))
    long = replace(found.statistics.blocks[0], name="features.denseblock4.denselayer16.se_module")
    found = replace(found, statistics=replace(found.statistics, blocks=(long,)))
    lines = as_text(found.table(), 80).splitlines()
    assert max(map(len, lines)) <= 80
    assert long.name in "".join(line.split()[0] for line in lines if line.strip())
