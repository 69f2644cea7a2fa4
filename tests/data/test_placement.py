"""Batches on the device are those of the loaders: of every augmentation, order, process and source, in every bit."""

import logging
import warnings
from dataclasses import replace
from itertools import zip_longest

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from PIL import Image

from senet.data.device import DeviceEvalLoader, DeviceTrainLoader
from senet.data.loaders import TrainLoader, eval_loader, train_loader
from senet.data.placement import TrainingPlace, training_batches, validation_batches
from senet.data.preparation import ImageAlone, ImagePreparation
from senet.data.source import ArrayImages, DataSource, UnreadableImageError, input_spec, open_data
from senet.data.stored import Room, StaysOnHostError
from senet.data.transforms import TrainTransform
from senet.data.waiting import BatchLoader
from senet.errors import UsageError
from senet.recipe import DataRecipe

CPU = torch.device("cpu")
IMAGES = ImagePreparation()
IN_MEMORY = {"workers": 0, "on_device": True}


def noise_source(recipe, *, size=12, shape=(12, 12), channels=3, count=30):
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (count, *shape, *([3] if channels == 3 else [])), dtype=np.uint8)
    targets = random.integers(0, 3, count)
    images = ArrayImages("noise", pixels, targets)
    spec = input_spec(recipe, size=size, mean=(0.4, 0.5, 0.6)[:channels], std=(0.2, 0.3, 0.25)[:channels])
    return DataSource("noise", images, images, ("a", "b", "c"), spec)


def assert_same(found, expected):
    for one, other in zip_longest(found, expected):
        assert one.images.dtype == other.images.dtype
        assert one.images.stride() == other.images.stride()
        assert torch.equal(one.images.view(torch.int32), other.images.view(torch.int32)), "in every bit"
        assert torch.equal(one.targets, other.targets)
        assert one.targets.dtype == other.targets.dtype
        assert one.corrupt == other.corrupt == []


def on_device(source, recipe, *, seed=0, **place):
    loader = training_batches(source, recipe, IMAGES, TrainingPlace(CPU, **place), seed=seed)
    assert isinstance(loader, DeviceTrainLoader)
    return loader


AUGMENTATIONS = st.fixed_dictionaries(
    {
        "crop": st.sampled_from(["none", "pad", "random_resized"]),
        "pad": st.integers(0, 5),
        "scale": st.sampled_from([(0.08, 1.0), (0.5, 0.5), (0.01, 0.02)]),
        "ratio": st.sampled_from([(3 / 4, 4 / 3), (0.1, 10.0), (5.0, 6.0)]),
        "flip": st.booleans(),
        "rotation": st.sampled_from([0.0, 10.0, 180.0]),
        "jitter": st.sampled_from([0.0, 20.0]),
        "cutout": st.sampled_from([0, 1, 5, 40]),
        "sampler": st.sampled_from(["shuffle", "class_aware"]),
        "batch_size": st.sampled_from([7, 30]),
    }
)


@given(changes=AUGMENTATIONS, channels=st.sampled_from([1, 3]), order=st.sampled_from(["rgb", "bgr"]), seed=st.integers(-5, 2**63 - 1))
@settings(max_examples=60)
def test_every_augmentation_gives_the_loaders_batches(changes, channels, order, seed):
    recipe = DataRecipe(**changes, **IN_MEMORY)
    source = noise_source(recipe, channels=channels)
    source = replace(source, input=replace(source.input, order=order))
    device, host = on_device(source, recipe, seed=seed), train_loader(source, recipe, seed=seed)
    assert len(device) == len(host)
    for epoch in (0, 3):
        assert_same(device.epoch(epoch), host.epoch(epoch))


@pytest.mark.parametrize(("crop", "rotation"), [("random_resized", 0.0), ("pad", 0.0), ("pad", 25.0), ("none", 90.0)])
@pytest.mark.parametrize(("shape", "size", "resize"), [((12, 12), 8, None), ((9, 17), 12, 14), ((31, 20), 6, 6), ((12, 23), 12, 12)])
def test_images_of_another_size_than_the_networks(crop, rotation, shape, size, resize):
    recipe = DataRecipe(crop=crop, rotation=rotation, flip=True, image_size=size, eval_resize=resize, batch_size=10, **IN_MEMORY)
    source = noise_source(recipe, shape=shape)
    assert_same(on_device(source, recipe).epoch(1), train_loader(source, recipe, seed=0).epoch(1))
    assert_same(validation_batches(source, recipe, IMAGES, TrainingPlace(CPU)), eval_loader(source, recipe))


def test_an_epoch_is_gone_on_with_and_given_up(monkeypatch):
    recipe = DataRecipe(name="digits", crop="pad", flip=True, cutout=3, batch_size=100, **IN_MEMORY)
    source = open_data(recipe)
    device, host = on_device(source, recipe), train_loader(source, recipe, seed=0)
    next(device.epoch(0))
    assert_same(device.epoch(2, start=5), host.epoch(2, start=5))
    monkeypatch.setattr("senet.data.device.AT_ONCE", 3 * 4 * 64 * 100)  # three batches
    assert_same(on_device(source, recipe).epoch(1), host.epoch(1))


@pytest.mark.parametrize("sampler", ["shuffle", "class_aware"])
def test_processes_get_their_shares(sampler):
    recipe = DataRecipe(crop="pad", sampler=sampler, batch_size=8, eval_batch_size=4, **IN_MEMORY)
    source = noise_source(recipe)
    for rank in range(2):
        place = {"rank": rank, "world": 2}
        assert_same(on_device(source, recipe, **place).epoch(1), train_loader(source, recipe, seed=0, **place).epoch(1))
        assert_same(validation_batches(source, recipe, IMAGES, TrainingPlace(CPU, **place)), eval_loader(source, recipe, **place))


@pytest.mark.parametrize("channels", [1, 3])
def test_batches_have_the_layout_that_the_loop_would_give_them(channels):
    recipe = DataRecipe(crop="pad", flip=True, batch_size=10, **IN_MEMORY)
    source = noise_source(recipe, channels=channels)
    expected = [batch.to(CPU, torch.channels_last) for batch in train_loader(source, recipe, seed=0).epoch(0)]
    found = list(on_device(source, recipe, layout=torch.channels_last).epoch(0))
    assert_same(found, expected)
    assert all(batch.to(CPU, torch.channels_last).images.data_ptr() == batch.images.data_ptr() for batch in found), "nothing is copied"


@pytest.fixture
def photographs(tmp_path):
    """Two classes of 6 + 3 noisy images of various sizes."""
    numbers = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 3)):
        for name in ("cat", "dog"):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = numbers.integers(0, 256, (*numbers.integers(14, 40, 2), 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i:02}.png")
    return tmp_path


@pytest.mark.parametrize("changes", [{"crop": "random_resized", "rotation": 20.0}, {"crop": "random_resized"}, {"crop": "pad"}])
def test_image_files_of_many_sizes(photographs, changes):
    recipe = DataRecipe(name="folder", root=str(photographs), image_size=16, flip=True, batch_size=5, **changes, **IN_MEMORY)
    source = open_data(recipe)
    assert_same(on_device(source, recipe).epoch(1), train_loader(source, recipe, seed=0).epoch(1))
    assert_same(validation_batches(source, recipe, IMAGES, TrainingPlace(CPU)), eval_loader(source, recipe))


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, np.float32, np.float64])
def test_targets_are_those_of_the_loaders(dtype):
    recipe = DataRecipe(batch_size=10, **IN_MEMORY)
    source = noise_source(recipe)
    for targets in (source.train.targets.astype(dtype), np.arange(60).reshape(30, 2).astype(dtype)):
        other = replace(source, train=replace(source.train, targets=targets))
        assert_same(on_device(other, recipe).epoch(0), train_loader(other, recipe, seed=0).epoch(0))


class Turned(TrainTransform):
    """Transform of a user's."""


class OwnTransform(ImagePreparation):
    def train_transform(self, recipe, spec):
        return ImageAlone(Turned(recipe, spec))


class OwnBatches(ImagePreparation):
    def collate(self, samples):
        return super().collate(samples)


class Damaged:
    """Images of which one cannot be read."""

    in_memory = True

    def __init__(self, images):
        self.images, self.targets = images, images.targets

    def __len__(self):
        return len(self.images)

    def read(self, index):
        if index == 7:
            raise UnreadableImageError("torn")
        return self.images.read(index)

    def describe(self, index):
        return f"picture {index}"


def refusal(source, recipe, preparation=IMAGES):
    with pytest.raises(UsageError) as caught:
        training_batches(source, recipe, preparation, TrainingPlace(CPU), seed=0)
    return str(caught.value)


def test_what_cannot_be_done_on_the_device_is_refused_with_the_reason():
    recipe = DataRecipe(batch_size=10, **IN_MEMORY)
    source = noise_source(recipe)
    train = source.train
    assert refusal(source, recipe, OwnTransform()) == (
        "data.on_device true: the training images cannot be augmented on cpu: the task transforms them in a way of its own; "
        "leave it out, or set it to false"
    )
    assert "joins its batches in a way of its own" in refusal(source, recipe, OwnBatches())
    assert "picture 7 cannot be read" in refusal(replace(source, train=Damaged(train)), recipe)
    assert "no array of numbers" in refusal(replace(source, train=replace(train, targets=train.targets.tolist())), recipe)
    narrow = noise_source(replace(recipe, image_size=300), shape=(1, 1000), size=300)
    assert "1000 x 1 pixels are too narrow" in refusal(narrow, replace(recipe, image_size=300, rotation=5.0))
    grey = replace(source, train=noise_source(recipe, channels=1).train)
    assert "uint8 of 1 channels, and the network takes 3" in refusal(grey, recipe)


def test_rotated_files_of_many_sizes_are_refused(photographs):
    recipe = DataRecipe(name="folder", root=str(photographs), image_size=16, rotation=5.0, batch_size=5, **IN_MEMORY)
    assert "images of several sizes are rotated there only if data.crop is random_resized" in refusal(open_data(recipe), recipe)


def test_an_unknown_pillow_is_refused_where_it_resizes(monkeypatch):
    monkeypatch.setattr("senet.data.placement.rows_first", lambda: None)
    recipe = DataRecipe(crop="random_resized", **IN_MEMORY)
    assert "this version of Pillow resizes in a way that is not known here" in refusal(noise_source(recipe), recipe)


def test_room_is_limited():
    Room(CPU, None).check(10**15)
    Room(CPU, 100).check(100)
    with pytest.raises(StaysOnHostError, match="they would take 2 MB of cpu, and 1 MB may be taken"):
        Room(CPU, 10**6).check(2 * 10**6)


@pytest.mark.parametrize("choice", [None, False])
def test_a_cpu_augments_by_loaders_unless_asked(choice):
    recipe = DataRecipe(workers=0, on_device=choice)
    source = noise_source(recipe)
    assert isinstance(training_batches(source, recipe, IMAGES, TrainingPlace(CPU), seed=0), TrainLoader)
    assert isinstance(validation_batches(source, recipe, IMAGES, TrainingPlace(CPU)), BatchLoader)


@pytest.fixture
def gpu(monkeypatch):
    """Return a place that counts as a GPU of 4 MB, where images are laid on the CPU all the same."""
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (4 * 10**6, 8 * 10**6))
    monkeypatch.setattr("senet.data.placement.Room", lambda device, limit: Room(CPU, limit))
    return TrainingPlace(torch.device("cuda"))


def test_a_gpu_takes_what_fits_into_a_quarter_of_its_memory(gpu, caplog):
    caplog.set_level(logging.INFO)
    recipe = DataRecipe(workers=0)
    small, large = noise_source(recipe), noise_source(recipe, count=3000)
    assert isinstance(training_batches(small, recipe, IMAGES, gpu, seed=0), DeviceTrainLoader)
    assert isinstance(validation_batches(small, recipe, IMAGES, gpu), DeviceEvalLoader)
    assert isinstance(training_batches(large, recipe, IMAGES, gpu, seed=0), TrainLoader)
    assert "the training images stay on the host: they would take 1 MB of cpu, and 1 MB may be taken" in caplog.text
    assert isinstance(training_batches(small, replace(recipe, on_device=False), IMAGES, gpu, seed=0), TrainLoader)


def test_a_gpu_leaves_what_is_not_known_to_stand_still_to_the_host(gpu, caplog, photographs):
    caplog.set_level(logging.INFO)
    recipe = DataRecipe(workers=0)
    source = noise_source(recipe)
    assert isinstance(training_batches(replace(source, train=Damaged(source.train)), recipe, IMAGES, gpu, seed=0), TrainLoader)
    assert "nothing says whether Damaged gives the same image each time" in caplog.text
    files = DataRecipe(name="folder", root=str(photographs), image_size=16, batch_size=4, workers=0, crop="random_resized")
    assert isinstance(training_batches(open_data(files), files, IMAGES, gpu, seed=0), DeviceTrainLoader)
    assert isinstance(training_batches(open_data(files), files, IMAGES, replace(gpu, world=2), seed=0), TrainLoader)
    assert "each of 2 processes would read all files" in caplog.text


def test_a_damaged_file_is_named_and_replaced_by_the_loaders(gpu, caplog, photographs):
    (photographs / "train" / "cat" / "03.png").write_bytes(b"\x89PNG")
    files = DataRecipe(name="folder", root=str(photographs), image_size=16, batch_size=4, workers=0)
    assert isinstance(training_batches(open_data(files), files, IMAGES, gpu, seed=0), TrainLoader)
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        "the training images stay on the host: train/cat/03.png cannot be read"
    ]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(
    "changes", [{"crop": "pad", "cutout": 5, "jitter": 9.0}, {"crop": "random_resized"}, {"crop": "pad", "rotation": 20.0, "image_size": 9}]
)
def test_a_gpu_gives_the_loaders_batches_and_is_not_waited_for(changes):
    recipe = DataRecipe(flip=True, batch_size=10, workers=0, **changes)
    source = noise_source(recipe, size=recipe.image_size or 12)
    place = TrainingPlace(torch.device("cuda"), torch.channels_last)
    device = training_batches(source, recipe, IMAGES, place, seed=0)
    assert isinstance(device, DeviceTrainLoader)
    with warnings.catch_warnings(action="ignore"):  # torch calls the mode a prototype
        torch.cuda.set_sync_debug_mode("error")
    try:
        found = list(device.epoch(1))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    expected = [batch.to(CPU, torch.channels_last) for batch in train_loader(source, recipe, seed=0).epoch(1)]
    assert_same([batch.to(CPU) for batch in found], expected)
    assert_same([batch.to(CPU) for batch in validation_batches(source, recipe, IMAGES, place)], eval_loader(source, recipe))
