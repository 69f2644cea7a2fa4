import multiprocessing
import random
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image

from senet.data.loaders import CorruptLog, DataError, eval_loader, train_loader
from senet.data.source import open_data
from senet.data.transforms import eval_transform
from senet.data.views import Views
from senet.recipe import DataRecipe

AUGMENTED = {"crop": "pad", "pad": 1, "flip": True, "cutout": 2, "rotation": 10.0, "jitter": 5.0, "batch_size": 200}

# On a machine with fewer cores than worker processes, torch says that this may be slow.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")


def digits(**changes):
    recipe = DataRecipe(**{**AUGMENTED, **changes})
    return open_data(recipe), recipe


def epoch(epoch=0, start=0, *, seed=0, rank=0, world=1, **changes):
    source, recipe = digits(**changes)
    return list(train_loader(source, recipe, seed=seed, rank=rank, world=world).epoch(epoch, start))


def same(first, second):
    return len(first) == len(second) and all(
        torch.equal(a.images, b.images) and torch.equal(a.targets, b.targets) and a.corrupt == b.corrupt
        for a, b in zip(first, second, strict=True)
    )


@pytest.fixture
def photographs(tmp_path):
    """Two classes of 20 + 10 small noisy images each."""
    numbers = np.random.default_rng(0)
    for split, count in (("train", 20), ("val", 10)):
        for name in ("cat", "dog"):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = numbers.integers(0, 256, (24, 30, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i:02}.png")
    return tmp_path


def photos(root, **changes):
    values = {"name": "folder", "root": str(root), "image_size": 16, "crop": "random_resized", "flip": True, "batch_size": 8, "workers": 0}
    recipe = DataRecipe(**{**values, **changes})
    return open_data(recipe), recipe


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("sampler", ["shuffle", "class_aware"])
def test_batches_do_not_depend_on_the_number_of_workers(workers, sampler):
    assert same(epoch(1, sampler=sampler, workers=0), epoch(1, sampler=sampler, workers=workers))


@pytest.mark.parametrize("workers", [0, 2])
def test_one_loader_gives_any_epoch_from_any_batch_again_and_again(workers):
    source, recipe = digits(workers=workers)
    loader = train_loader(source, recipe, seed=0)
    whole = {number: epoch(number) for number in (0, 1)}
    assert len(whole[0]) == len(loader) == 6
    assert same(list(loader.epoch(1)), whole[1])
    assert same([next(loader.epoch(0))], whole[0][:1])  # given up after a batch
    assert same(list(loader.epoch(1, start=4)), whole[1][4:])
    assert same(list(loader.epoch(0)), whole[0])


def test_seed_and_epoch_change_the_images():
    assert not same(epoch(0), epoch(1))
    assert not same(epoch(0), epoch(0, seed=1))
    assert same(epoch(0), epoch(0))


def test_an_image_is_augmented_the_same_wherever_it_falls_in_the_epoch():
    small = torch.cat([batch.images for batch in epoch(batch_size=100)])
    large = torch.cat([batch.images for batch in epoch(batch_size=1200)])
    assert torch.equal(small, large)


def test_processes_divide_every_batch():
    whole = epoch()
    parts = [epoch(rank=rank, world=2) for rank in range(2)]
    for batch, *shares in zip(whole, *parts, strict=True):
        assert torch.equal(batch.images[0::2], shares[0].images)
        assert torch.equal(batch.images[1::2], shares[1].images)
        assert torch.equal(batch.targets, torch.stack([share.targets for share in shares], 1).flatten())


@pytest.mark.parametrize("workers", [0, 1])
def test_loading_draws_none_of_the_callers_random_numbers(workers):
    torch.manual_seed(0)
    random.seed(0)
    before = torch.get_rng_state(), random.getstate()
    state = np.random.get_state()[1]  # noqa: NPY002 - the global state is what must not move
    epoch(workers=workers)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()
    assert np.array_equal(state, np.random.get_state()[1])  # noqa: NPY002


def test_evaluation_sees_every_image_once_in_order():
    source, recipe = digits(eval_batch_size=250)
    loader = eval_loader(source, recipe)
    for _ in range(2):
        batches = list(loader)
        assert [len(batch.targets) for batch in batches] == [250, 250, 96]
        assert torch.equal(torch.cat([batch.targets for batch in batches]), torch.from_numpy(source.val.targets))
    transform = eval_transform(source.input)
    assert torch.equal(batches[0].images[3], transform(source.val.read(3)))
    assert len(loader) == 3


def test_evaluation_divides_among_processes_and_takes_other_views():
    source, recipe = digits()
    shares = [list(eval_loader(source, recipe, rank=rank, world=2)) for rank in range(2)]
    labels = [torch.cat([batch.targets for batch in share]) for share in shares]
    assert torch.equal(labels[0], torch.from_numpy(source.val.targets[0::2]))
    assert torch.equal(labels[1], torch.from_numpy(source.val.targets[1::2]))
    assert [index for batch in shares[1] for index in batch.indices] == list(range(1, len(source.val), 2))
    ten = eval_loader(source, recipe, views=Views("ten", scales=(9, 10)))
    assert next(iter(ten)).images.shape == (200, 20, 1, 8, 8)


@pytest.mark.parametrize("workers", [0, 2])
def test_corrupt_training_image_is_named_and_replaced_by_another(photographs, workers):
    whole = [list(train_loader(*photos(photographs), seed=0).epoch(e)) for e in (0, 1)]
    broken = photographs / "train" / "cat" / "07.png"
    broken.write_bytes(broken.read_bytes()[:300])
    source, recipe = photos(photographs, workers=workers)
    loader = train_loader(source, recipe, seed=0)
    for number, before in enumerate(whole):
        after = list(loader.epoch(number))
        assert [name for batch in after for name in batch.corrupt] == ["train/cat/07.png"]
        assert [batch.images.shape for batch in after] == [(8, 3, 16, 16)] * 5
        changed = sum(not torch.equal(x, y) for a, b in zip(before, after, strict=True) for x, y in zip(a.images, b.images, strict=True))
        assert changed == 1


def test_replacement_is_the_same_for_any_number_of_workers(photographs):
    for i in range(0, 20, 2):
        (photographs / "train" / "dog" / f"{i:02}.png").write_bytes(b"not an image")
    alone, together = (list(train_loader(*photos(photographs, workers=workers), seed=0).epoch(0)) for workers in (0, 2))
    assert same(alone, together)
    names = {name for batch in alone for name in batch.corrupt}
    assert names == {f"train/dog/{i:02}.png" for i in range(0, 20, 2)}
    assert all(len(batch.targets) == 8 for batch in alone)


def test_nothing_readable_leaves_the_batch_empty_and_names_all(photographs):
    for path in photographs.glob("train/*/*.png"):
        path.write_bytes(b"")
    source, recipe = photos(photographs)
    batch = next(train_loader(source, recipe, seed=0).epoch(0))
    assert (len(batch.images), len(batch.targets)) == (0, 0)
    with pytest.raises(DataError):
        CorruptLog(0.5, len(source.train)).add(batch.corrupt)


def test_corrupt_evaluation_image_is_left_out_and_named(photographs):
    (photographs / "val" / "dog" / "03.png").write_bytes(b"not an image")
    batches = list(eval_loader(*photos(photographs)))
    assert [len(batch.targets) for batch in batches] == [8, 7, 4]
    assert [batch.corrupt for batch in batches] == [[], ["val/dog/03.png"], []]
    assert torch.cat([batch.targets for batch in batches]).tolist() == [0] * 10 + [1] * 9


@pytest.mark.parametrize("workers", [0, 2])
def test_why_images_cannot_be_read_is_said_when_there_are_too_many(photographs, workers):
    for path in sorted(photographs.glob("train/*/*.png")):
        path.unlink()
        Image.fromarray(np.full((4, 4), 4095, np.int32)).save(path.with_suffix(".tif"))
    source, recipe = photos(photographs, workers=workers)
    batch = next(train_loader(source, recipe, seed=0).epoch(0))
    log = CorruptLog(0.0, len(source.train))
    with pytest.raises(
        DataError, match=r"\n  train/cat/\d\d.tif \(has values from 4095 to 4095 \(signed, 32 bits, mode I\), .*--data.range"
    ):
        log.add(batch.corrupt)
    assert {type(name) for name in log.names} == {str}  # what checkpoints hold


def test_corrupt_log_counts_each_image_once_and_fails_with_the_list():
    log = CorruptLog(0.001, 2000)
    for _ in range(3):
        log.add(["b.jpg", "a.jpg"])
    with pytest.raises(DataError) as caught:
        log.add(["c.jpg"])
    lines = str(caught.value).splitlines()
    assert lines[0] == ("3 of 2000 images cannot be read, more than data.max_corrupt 0.001 allows; repair or remove them, or raise it:")
    assert [line.strip() for line in lines[1:]] == ["a.jpg", "b.jpg", "c.jpg"]


def test_corrupt_log_with_no_tolerance():
    log = CorruptLog(0.0, 10)
    log.add([])
    with pytest.raises(DataError, match="1 of 10 images"):
        log.add(["a.jpg"])


@pytest.mark.parametrize("name", ["INT", "TERM"])
def test_workers_leave_signals_to_the_training_process(name, monkeypatch):
    monkeypatch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 60.0)  # so long torch would wait for one that does not end
    source, recipe = digits(workers=1, batch_size=10)
    loader = train_loader(source, recipe, seed=0)
    batches = loader.epoch(0)
    first = next(batches)
    (worker,) = multiprocessing.active_children()
    subprocess.run(["kill", f"-{name}", str(worker.pid)], check=True)
    time.sleep(0.2)
    assert same([first, *batches], epoch(batch_size=10))
    begun = time.monotonic()
    loader.close()
    assert not worker.is_alive()
    assert time.monotonic() - begun < 30


def test_a_process_with_open_loaders_ends():
    program = """
from senet.data.loaders import eval_loader, train_loader
from senet.data.source import open_data
from senet.recipe import DataRecipe

recipe = DataRecipe(workers=1)
source = open_data(recipe)
train, val = train_loader(source, recipe, seed=0), eval_loader(source, recipe)
batches = train.epoch(0)
next(batches)
begun = list(val)
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True, timeout=300)
