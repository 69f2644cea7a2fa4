import numpy as np
import torch
from PIL import Image

from senet.analysis.gate_sheet import TILE, gate_sheet
from senet.analysis.heat_map import HEAT, OPACITY
from senet.analysis.spatial import SpatialGates


def recorded(*gates: float, side: int = 4) -> list[SpatialGates]:
    return [
        SpatialGates(f"path{place}.sse", f"SE_{place}_1", place, True, channels=8, gates=torch.full((2, 1, side, side), gate))
        for place, gate in enumerate(gates, start=1)
    ]


def test_each_block_has_a_map_beside_the_image() -> None:
    sheet = np.asarray(gate_sheet(Image.new("RGB", (64, 64)), recorded(0.0, 1.0)))
    width = (sheet.shape[1] - 12) // 3
    for place, colour in ((1, HEAT[0]), (2, HEAT[-1])):
        tile = sheet[12 : 12 + TILE, 12 + place * width : 12 + place * width + TILE]
        assert np.abs(tile.astype(int) - np.rint(OPACITY * np.array(colour)).astype(int)).max() <= 1
    assert (sheet[12 : 12 + TILE, 12 : 12 + TILE] == 0).all()


def test_many_blocks_go_into_rows_and_a_tall_image_stays_tall() -> None:
    wide = gate_sheet(Image.new("L", (600, 200)), recorded(*[0.5] * 8))
    assert wide.width == gate_sheet(Image.new("L", (600, 200)), recorded(*[0.5] * 3)).width
    assert wide.height > 3 * TILE / 3
    tall = gate_sheet(Image.new("L", (20, 60)), recorded(0.5))
    assert tall.height > TILE > tall.width / 3


def test_the_image_that_is_asked_for_is_shown() -> None:
    (block,) = recorded(0.0)
    block.gates[1] = 1.0
    first, second = (np.asarray(gate_sheet(Image.new("L", (32, 32)), [block], index)) for index in (0, 1))
    assert not np.array_equal(first, second)


def test_a_path_that_is_too_long_keeps_its_end() -> None:
    block = SpatialGates("a." * 40 + "sse", "a." * 40 + "sse", 1, True, channels=8, gates=torch.zeros(1, 1, 2, 2))
    assert gate_sheet(Image.new("L", (32, 32)), [block]).width == gate_sheet(Image.new("L", (32, 32)), recorded(0.0)).width
