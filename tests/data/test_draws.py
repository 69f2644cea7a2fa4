import numpy as np
from hypothesis import given, settings, strategies as st

from senet.data.draws import crop_windows, draw
from senet.data.philox import Streams
from senet.data.samplers import SampleKey, sample_random
from senet.data.transforms import random_resized_crop
from senet.recipe import DataRecipe
from senet.spec import InputSpec


class Window:
    """Image of a size that says where it was cut."""

    def __init__(self, width, height):
        self.size = width, height

    def crop(self, box):
        self.box = box
        return self

    def resize(self, size, how):
        return self.box


@given(
    scale=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)).map(sorted),
    ratio=st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)).map(sorted),
    seed=st.integers(0, 2**63),
)
@settings(max_examples=60)
def test_windows_are_those_that_each_image_would_get_alone(scale, ratio, seed):
    random = np.random.default_rng(seed)
    sizes = random.integers(1, 2 ** random.integers(1, 11), (2, 40))
    streams = Streams((seed, 2), np.stack([np.zeros(40, np.int64), np.arange(40)], 1))
    left, top, width, height = crop_windows(sizes, tuple(scale), tuple(ratio), streams)
    boxes = np.stack([left, top, left + width, top + height], 1).tolist()
    for image, box in enumerate(boxes):
        alone = sample_random(seed, SampleKey(2, image))
        assert list(random_resized_crop(Window(*sizes[:, image].tolist()), 8, scale, ratio, alone)) == box
        assert alone.random() == streams.random(np.array([image])).item(), "as many numbers were drawn"


def test_what_a_recipe_leaves_out_draws_nothing():
    streams = Streams((0, 0), np.zeros((3, 2)))
    draws = draw(DataRecipe(), InputSpec(size=8, resize=8, channels=1, mean=(0.5,), std=(0.5,)), streams, np.full((2, 3), 8))
    assert set(vars(draws).values()) == {None}
    assert streams.random()[0] == Streams((0, 0), np.zeros((1, 2))).random()[0]
