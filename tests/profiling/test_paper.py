"""The papers' tables: every network is counted here, and every difference from a printed number is explained."""

import json
from functools import cache
from io import StringIO

import pytest
from rich.console import Console

from senet.cli.main import main
from senet.errors import UsageError
from senet.models.registry import list_models
from senet.profiling.paper import CountedRow, PaperRow, PaperTables, Printed, paper_rows

ROWS = paper_rows()
EXACT = {  # derived from the layer lists of the papers and releases, not from this package
    ("ResNet-50", "Table 2"): (25_557_032, 0),
    ("SE-ResNet-50", "Table 2"): (28_088_024, 16),
    ("SE-ResNet-101", "Table 2"): (49_326_872, 33),
    ("SE-ResNet-152", "Table 2"): (66_821_848, 50),
    ("SE-ResNeXt-50", "Table 2"): (27_559_896, 16),
    ("SE-ResNeXt-101", "Table 2"): (48_955_416, 33),
    ("VGG-16", "Table 2"): (138_365_992, 0),
    ("BN-Inception", "Table 2"): (11_285_224, 0),
    ("SE-BN-Inception", "Table 2"): (11_931_622, 10),
    ("Inception-ResNet-v2", "Table 2"): (55_843_464, 0),
    ("MobileNet", "Table 3"): (4_231_976, 0),
    ("SE-MobileNet", "Table 3"): (4_711_720, 13),
    ("ShuffleNet", "Table 3"): (1_865_728, 0),
    ("SE-ShuffleNet", "Table 3"): (2_476_144, 16),
    ("SE-Shake-Shake 26 2x96d", "Tables 4 and 5"): (26_192_922 + 96_768, 12),
    ("SE-Shake-Even 29 2x4x64d", "Table 5"): (34_529_700 + 516_096, 9),
    ("SENet-154", "Table 8"): (115_088_984, 50),
}


def identify(row: PaperRow) -> str:
    return f"{row.name}, {row.table}"


@cache
def counted(place: int) -> CountedRow:
    """Count the network of a row, by the row's place: it takes up to some seconds."""
    return CountedRow.of(ROWS[place])


@pytest.mark.parametrize("place", range(len(ROWS)), ids=[identify(row) for row in ROWS])
def test_counts_are_the_printed_ones_or_a_note_says_why_not(place: int) -> None:
    row, found = ROWS[place], counted(place)
    assert bool(found.deviations) == (row.note is not None), found.to_dict()
    exact = [count for (name, table), count in EXACT.items() if row.name == name and table in row.table.split(", ")]
    for parameters, blocks in exact:
        assert (found.parameters, len(found.blocks)) == (parameters, blocks)


def test_deviations_in_macs_are_small_where_the_convention_is_unknown() -> None:
    for place, row in enumerate(ROWS):
        if row.note and "up to 0.02 G" in row.note:
            assert row.macs is not None
            assert 0 < Printed(row.macs).value - counted(place).macs <= 0.02e9 + Printed(row.macs).tolerance


def test_every_exact_count_has_its_row() -> None:
    found = {(name, table) for name, table in EXACT for row in ROWS if row.name == name and table in row.table.split(", ")}
    assert found == EXACT.keys()


def test_every_network_is_of_the_registry() -> None:
    assert {row.model for row in ROWS} <= set(list_models())


def test_printed_numbers_know_their_precision() -> None:
    printed = Printed("3.86 G")
    assert printed.value == pytest.approx(3.86e9)
    assert printed.tolerance == pytest.approx(5e6)
    assert printed.agrees(3_857_973_248)
    assert not printed.agrees(3_866_007_552)


def test_tables_fit_a_narrow_terminal() -> None:
    text = StringIO()
    Console(file=text, width=80).print(PaperTables.of("*resnet50").table())
    lines = text.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("SE-ResNet-50") and "28,088,024" in line and "3.87 G" in line for line in lines)
    assert any("running means" in line for line in lines)


def test_the_command_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "senet154", "--paper", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["parameters"] for row in rows] == [115_088_984]
    assert len(rows[0]["blocks"]) == 50


def test_nothing_that_matches_is_an_error() -> None:
    with pytest.raises(UsageError, match="no network of the papers matches 'resnet51'"):
        PaperTables.of("resnet51")
