"""An analysis of gates as a terminal shows it."""

from dataclasses import replace
from pathlib import Path

from made_analyses import written
from made_runs import tiny
from senet.terminal import as_text
from senet.training.analyse import analyse


def test_long_paths_of_other_libraries_are_not_cut(tmp_path: Path) -> None:
    path, _ = written(tiny(model__name="preresnet20", model__stages=[3]), tmp_path / "w.safetensors")
    found = analyse(path, limit=10, modes=("none",))
    long = replace(found.statistics.blocks[0], name="features.denseblock4.denselayer16.se_module")
    found = replace(found, statistics=replace(found.statistics, blocks=(long,)))
    lines = as_text(found.table(), 80).splitlines()
    assert max(map(len, lines)) <= 80
    assert long.name in "".join(line.split()[0] for line in lines if line.strip())
