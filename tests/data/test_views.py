"""Views of an image: crops, scales and sizes."""

import pytest
import torch
from PIL import Image

from senet.data.transforms import eval_transform
from senet.data.views import Views, view_transform
from senet.errors import UsageError
from senet.spec import InputSpec

SPEC = InputSpec(size=8, resize=10, channels=1, mean=(0.5,), std=(0.25,))
IMAGE = Image.effect_noise((30, 20), 80)


def test_one_view_is_the_plain_transform() -> None:
    assert torch.equal(view_transform(SPEC, Views())(IMAGE), eval_transform(SPEC)(IMAGE))


def test_crops_come_scale_by_scale() -> None:
    wanted = [eval_transform(InputSpec(8, side, 1, (0.5,), (0.25,)), "ten")(IMAGE) for side in (8, 12)]
    assert torch.equal(view_transform(SPEC, Views("ten", scales=(8, 12)))(IMAGE), torch.cat(wanted))
    assert view_transform(SPEC, Views(scales=(8, 12)))(IMAGE).shape == (2, 1, 8, 8)


def test_another_size_keeps_the_share_of_the_image() -> None:
    wanted = eval_transform(InputSpec(16, 20, 1, (0.5,), (0.25,)))(IMAGE)
    assert torch.equal(view_transform(SPEC, Views(size=16))(IMAGE), wanted)


def test_a_scale_below_the_crop_is_one_line() -> None:
    with pytest.raises(UsageError, match="scale 7 is below the crop's size 8"):
        view_transform(SPEC, Views(scales=(7,)))


def test_a_size_below_one_is_refused() -> None:
    with pytest.raises(UsageError, match="size must be at least 1 pixel, got 0"):
        view_transform(SPEC, Views(size=0))
