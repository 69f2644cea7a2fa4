import numpy as np
from sklearn.datasets import load_digits

from senet.data.source import open_data
from senet.recipe import DataRecipe


def test_split_is_fixed_stratified_and_complete():
    source = open_data(DataRecipe())
    assert (len(source.train), len(source.val)) == (1201, 596)
    counts = np.stack([np.bincount(images.targets) for images in (source.train, source.val)])
    assert abs(counts[1] / counts.sum(0) - 1 / 3).max() < 0.005

    def contents(images):
        return [(np.asarray(images.read(i)).tobytes(), int(images.targets[i])) for i in range(len(images))]

    pixels, labels = load_digits(return_X_y=True)
    everything = [(np.rint(x * 255 / 16).astype(np.uint8).tobytes(), int(y)) for x, y in zip(pixels, labels, strict=True)]
    assert sorted(contents(source.train) + contents(source.val)) == sorted(everything)


def test_images_are_grey_and_the_statistics_are_theirs():
    source = open_data(DataRecipe())
    pixels = np.stack([np.asarray(source.train.read(i)) for i in range(len(source.train))]) / 255
    assert pixels.shape[1:] == (8, 8)
    assert (source.input.size, source.input.resize, source.input.channels) == (8, 8, 1)
    np.testing.assert_allclose(source.input.mean, pixels.mean(), atol=5e-4)
    np.testing.assert_allclose(source.input.std, pixels.std(), atol=5e-4)
    assert source.classes == tuple("0123456789")
