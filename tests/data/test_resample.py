import numpy as np
import torch
from hypothesis import given, settings, strategies as st
from PIL import Image

from senet.data.resample import never, resized, resized_lines, rotated, rotation_matrices, rows_first, rows_shrink_more, tap_table
from senet.data.transforms import BILINEAR

CPU = torch.device("cpu")
SIDE = st.integers(1, 60)


def noise(count, height, width, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, channels), dtype=np.uint8)


def tensor(pixels):
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def array(images):
    return images.permute(0, 2, 3, 1).numpy()


@given(height=SIDE, width=SIDE, side=st.integers(1, 40), seed=st.integers(0, 99))
@settings(max_examples=60)
def test_windows_are_resized_as_pillow_does(height, width, side, seed):
    random, pixels = np.random.default_rng(seed), noise(6, height, width, seed=seed)
    w, h = random.integers(1, width + 1, 6), random.integers(1, height + 1, 6)
    left, top = random.integers(0, width - w + 1), random.integers(0, height - h + 1)
    across = tap_table(width, side, CPU).of(torch.from_numpy(w)), torch.from_numpy(left)
    down = tap_table(height, side, CPU).of(torch.from_numpy(h)), torch.from_numpy(top)
    rule = rows_first()
    assert rule is not None
    found = array(resized(tensor(pixels), across, down, torch.from_numpy(rule(w, h, side, side))))
    for i in range(6):
        box = (left[i], top[i], left[i] + w[i], top[i] + h[i])
        expected = Image.fromarray(pixels[i]).crop(tuple(map(int, box))).resize((side, side), BILINEAR)
        assert np.array_equal(found[i], np.asarray(expected))


def test_long_lines_take_many_pixels():
    pixels = noise(1, 3, 1000)
    wide = resized_lines(tensor(pixels), tap_table(1000, 7, CPU).of(torch.tensor([1000])), torch.tensor([0]), 3)
    assert np.array_equal(array(wide)[0], np.asarray(Image.fromarray(pixels[0]).resize((7, 3), BILINEAR)))


@given(height=SIDE, width=SIDE, seed=st.integers(0, 99), limit=st.sampled_from([1e-9, 0.5, 10.0, 180.0, 720.0]))
@settings(max_examples=60)
def test_images_are_rotated_as_pillow_does(height, width, seed, limit):
    random, pixels = np.random.default_rng(seed), noise(6, height, width, seed=seed)
    angles = np.concatenate([random.uniform(-limit, limit, 2), [0.0, 90.0, 180.0, 270.0]])
    w, h = random.integers(1, width + 1, 6), random.integers(1, height + 1, 6)
    sizes = np.stack([w, h])
    found = array(rotated(tensor(pixels), torch.from_numpy(rotation_matrices(angles, sizes)), torch.from_numpy(sizes)))
    for i in range(6):
        expected = Image.fromarray(pixels[i, : h[i], : w[i]]).rotate(angles[i], BILINEAR)
        assert np.array_equal(found[i, : h[i], : w[i]], np.asarray(expected)), angles[i]


def test_another_order_of_directions_would_be_noticed(monkeypatch):
    rule = rows_first()
    assert rule in (never, rows_shrink_more)
    rows_first.cache_clear()
    monkeypatch.setattr("senet.data.resample.rows_shrink_more", lambda width, height, *new: height > width)
    monkeypatch.setattr("senet.data.resample.never", lambda width, height, *new: height <= width)
    assert rows_first() is None
    rows_first.cache_clear()
