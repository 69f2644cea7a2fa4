import numpy as np
from PIL import Image

from senet.analysis.heat_map import HEAT, heat_map


def test_heat_runs_from_the_first_colour_to_the_last() -> None:
    drawn = np.asarray(heat_map(Image.new("L", (8, 4), 0), np.array([[0.0, 1.0], [-1.0, 2.0]])))
    assert drawn.shape == (4, 8, 3)
    assert np.abs(drawn[0, 0] - 0.75 * np.array(HEAT[0])).max() <= 1
    assert np.abs(drawn[0, 7] - 0.75 * np.array(HEAT[-1])).max() <= 1
    assert np.array_equal(drawn[:2], drawn[2:])
