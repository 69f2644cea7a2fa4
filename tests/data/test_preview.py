"""Images as pictures: every kind that a set of images reads."""

import numpy as np
import pytest
from PIL import Image

from senet.data.preview import grey_picture, preview, reduced


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "1", "RGBA"])
def test_an_image_is_shown_in_rgb_of_its_own_size(mode: str) -> None:
    image = Image.new("RGB", (5, 3), (255, 255, 255)).convert(mode)
    shown = preview(image)
    assert (shown.mode, shown.size) == ("RGB", (5, 3))
    assert np.asarray(shown).min() == 255


@pytest.mark.parametrize(("channels", "shown"), [(1, 0), (3, 1), (5, 2), (2, 1)])
def test_of_an_array_the_channel_in_the_middle_is_shown(channels: int, shown: int) -> None:
    values = np.random.default_rng(channels).normal(size=(4, 5, channels)).astype(np.float32)
    picture = np.asarray(preview(values))
    assert (picture[..., 0] == picture[..., 2]).all()
    assert (picture[..., 0].argmin(), picture[..., 0].argmax()) == (values[..., shown].argmin(), values[..., shown].argmax())
    assert (picture.min(), picture.max()) == (0, 255)


def test_an_array_of_one_value_is_black() -> None:
    assert np.asarray(grey_picture(np.full((2, 3), 7.0, np.float32))).max() == 0


@pytest.mark.parametrize(("size", "shown"), [((100, 50), (20, 10)), ((50, 100), (10, 20)), ((1000, 1), (20, 1)), ((20, 20), (20, 20))])
def test_larger_pictures_are_reduced_in_their_shape(size: tuple[int, int], shown: tuple[int, int]) -> None:
    picture = Image.new("RGB", size)
    assert reduced(picture, 20).size == shown
    assert (reduced(picture, 20) is picture) is (size == shown)
