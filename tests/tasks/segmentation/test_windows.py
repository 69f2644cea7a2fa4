"""Sliding windows against MONAI's, against the whole image, and on sizes at the edge."""

import itertools

import pytest
import torch
from hypothesis import given, strategies as st
from monai.inferers.utils import sliding_window_inference
from torch import nn

from senet.errors import UsageError
from senet.tasks.segmentation.windows import Windows, corners, mirrored_mean, window_weights

SHAPES = [((2, 3, 37, 50), 16), ((1, 2, 33, 20), (17, 20)), ((2, 1, 11, 14, 9), (4, 6, 9)), ((1, 1, 16, 16), 16)]


def network(shape, kernel=3):
    """A convolution in float64: what it says of a window's edge depends on the window."""
    torch.manual_seed(0)
    kind = nn.Conv2d if len(shape) == 4 else nn.Conv3d
    return kind(shape[1], 3, kernel, padding=kernel // 2).double()


@pytest.mark.parametrize(("shape", "sides"), SHAPES)
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.8])
@pytest.mark.parametrize(("kind", "theirs"), [("gaussian", "gaussian"), ("flat", "constant")])
def test_as_monai(shape, sides, overlap, kind, theirs):
    """MONAI's weights are float32, so that the two agree to that precision."""
    images = torch.randn(shape, dtype=torch.float64)
    model = network(shape)
    found = Windows(sides, overlap, kind, batch=3).predict(model, images)
    roi = (sides,) * (len(shape) - 2) if isinstance(sides, int) else sides
    expected = sliding_window_inference(images, roi, 3, model, overlap=overlap, mode=theirs)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("shape", "sides"), SHAPES)
@pytest.mark.parametrize("kind", ["gaussian", "flat"])
def test_local_network_gives_the_same_as_on_the_whole(shape, sides, kind):
    images = torch.randn(shape, dtype=torch.float64)
    model = network(shape, kernel=1)
    torch.testing.assert_close(Windows(sides, 0.5, kind).predict(model, images), model(images), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("shape", "sides"), SHAPES)
def test_as_a_sum_in_plain_loops(shape, sides):
    """Every answer and its weight, added by hand in float64."""
    images, model = torch.randn(shape, dtype=torch.float64), network(shape)
    windows = Windows(sides, 0.3)
    window = windows.fitted(shape[2:])
    sums, total = torch.zeros(shape[0], 3, *shape[2:], dtype=torch.float64), torch.zeros(shape[2:], dtype=torch.float64)
    middle = [(side - 1) / 2 for side in window]
    for corner in corners(shape[2:], window, 0.3):
        part = (..., *(slice(start, start + side) for start, side in zip(corner, window, strict=True)))
        answer = model(images[part])
        for place in itertools.product(*map(range, window)):
            distance = sum(((at - m) / (0.125 * side)) ** 2 for at, m, side in zip(place, middle, window, strict=True))
            weight = max(torch.tensor(-distance / 2, dtype=torch.float64).exp().item(), 1e-3)
            there = (..., *(start + at for start, at in zip(corner, place, strict=True)))
            sums[there] += weight * answer[(..., *place)]
            total[there] += weight
    torch.testing.assert_close(windows.predict(model, images), sums / total, rtol=1e-12, atol=1e-12)


@given(long=st.integers(1, 70), side=st.integers(1, 70), overlap=st.floats(0, 0.95))
def test_windows_cover_a_side_without_leaving_it(long, side, overlap):
    side = min(side, long)
    starts = [start for (start,) in corners((long,), (side,), overlap)]
    assert starts == sorted(set(starts))
    assert starts[0] == 0
    assert starts[-1] + side == long
    assert all(later - sooner <= side for sooner, later in itertools.pairwise(starts))


def test_window_larger_than_the_image_is_the_whole_image():
    """Bit for bit, in one call, with nothing padded: a squeeze sees the image and nothing else."""
    images, seen = torch.randn(2, 1, 9, 12), []

    def squeeze(image):
        seen.append(image.shape)
        return image.mean((2, 3), keepdim=True).expand_as(image)

    found = Windows(16).predict(squeeze, images)
    assert torch.equal(found, squeeze(images))
    assert seen[0] == images.shape
    Windows((16, 8)).predict(squeeze, images)
    assert {shape[2:] for shape in seen[2:]} == {(9, 8)}


@pytest.mark.parametrize("batch", [1, 2, 5, 100])
def test_never_more_windows_at_once_than_asked_for(batch):
    images, sizes = torch.randn(3, 1, 20, 20, dtype=torch.float64), []

    def counted(crops):
        sizes.append(len(crops))
        return crops * 2

    found = Windows(8, batch=batch).predict(counted, images)
    torch.testing.assert_close(found, images * 2, rtol=1e-12, atol=1e-12)
    assert max(sizes) <= batch
    assert sum(sizes) == 3 * 16


def test_sums_lie_where_they_are_asked_to():
    images = torch.randn(1, 1, 20, 20)
    assert Windows(8, sums_on="cpu").predict(lambda crops: crops, images).device.type == "cpu"
    assert Windows(8, sums_on="meta").predict(lambda crops: crops, images.to("meta")).device.type == "meta"


def test_gaussian_weights_are_symmetric_and_fall_towards_the_edge():
    weights = window_weights((7, 8), "gaussian")
    assert torch.equal(weights, weights.flip(0, 1))
    assert weights[3, 0] < weights[3, 3]
    assert weights.min() == 1e-3


@pytest.mark.parametrize("axes", [(3,), (2, 3), (2,), ()])
def test_mirrored_mean(axes):
    images = torch.randn(2, 3, 9, 12, dtype=torch.float64)
    model = network(images.shape)
    expected = [model(images)]
    for axis in axes:
        expected += [model(images.flip(axis)).flip(axis)]
    if len(axes) == 2:
        expected += [model(images.flip(axes)).flip(axes)]
    found = mirrored_mean(model, axes)
    torch.testing.assert_close(found(images), torch.stack(expected).mean(0), rtol=1e-12, atol=1e-12)
    for axis in axes:
        torch.testing.assert_close(found(images.flip(axis)).flip(axis), found(images), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sides": 0}, "a window's side"),
        ({"sides": (8, -1)}, "a window's side"),
        ({"sides": 8, "overlap": 1.0}, "overlap must be"),
        ({"sides": 8, "batch": 0}, "windows at once"),
        ({"sides": 8, "weights": "cosine"}, "gaussian"),
    ],
)
def test_refuses(options, said):
    with pytest.raises(UsageError, match=said):
        Windows(**options)


def test_refuses_a_network_of_another_size_and_windows_of_another_number_of_axes():
    with pytest.raises(UsageError, match="has the size of its images"):
        Windows(8).predict(lambda crops: crops[..., ::2], torch.randn(1, 1, 20, 20))
    with pytest.raises(UsageError, match="one an axis"):
        Windows((8, 8, 8)).predict(lambda crops: crops, torch.randn(1, 1, 20, 20))
