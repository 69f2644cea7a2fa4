import numpy as np
import pytest
from hypothesis import given, strategies as st

from senet.data.samplers import MIXED_SHARDS, EpochSampler, SampleKey, by_shard, class_aware, occurrences, sample_random, shuffle
from senet.errors import UsageError

LABELS = np.repeat(np.arange(3), (50, 30, 20))


def epoch_of(sampler, epoch=0, start=0):
    sampler.epoch, sampler.start = epoch, start
    return list(sampler)


def sampler(**changes):
    return EpochSampler(LABELS, **{"order": "shuffle", "batch_size": 16, "seed": 0, **changes})


def test_shuffle_draws_every_image_once():
    order = shuffle(LABELS, np.random.default_rng(0))
    assert sorted(order) == list(range(100))
    assert list(order) != list(range(100))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=80), st.integers(0, 2**32))
def test_class_aware_is_even_over_classes_and_over_the_images_of_each(labels, seed):
    labels = np.array(labels)
    order = class_aware(labels, np.random.default_rng(seed))
    assert len(order) == len(labels)
    per_class = np.bincount(labels[order], minlength=6)[np.unique(labels)]
    assert per_class.max() - per_class.min() <= 1
    for label in np.unique(labels):
        per_image = np.bincount(order[labels[order] == label], minlength=len(labels))[labels == label]
        assert per_image.max() - per_image.min() <= 1


def test_class_aware_takes_the_classes_in_rounds():
    labels = LABELS[class_aware(LABELS, np.random.default_rng(0))]
    assert all(sorted(labels[first : first + 3]) == [0, 1, 2] for first in range(0, 99, 3))
    assert len({tuple(labels[first : first + 3]) for first in range(0, 99, 3)}) == 6  # reshuffled for every round


def test_class_aware_hands_out_each_class_in_rounds_of_its_own():
    order = class_aware(LABELS, np.random.default_rng(0))
    smallest = order[LABELS[order] == 2]  # 33 or 34 draws from 20 images
    assert sorted(smallest[:20]) == list(range(80, 100))
    assert len(set(smallest[20:])) == len(smallest[20:])


@pytest.mark.parametrize("order", ["shuffle", "class_aware"])
def test_order_is_a_function_of_seed_and_epoch(order):
    assert epoch_of(sampler(order=order), 3) == epoch_of(sampler(order=order), 3)
    assert epoch_of(sampler(order=order), 3) != epoch_of(sampler(order=order), 4)
    assert epoch_of(sampler(order=order), 3) != epoch_of(sampler(order=order, seed=1), 3)


def test_start_skips_batches_and_changes_nothing_else():
    assert epoch_of(sampler(), 2, start=4) == epoch_of(sampler(), 2)[4:]
    assert epoch_of(sampler(), 2, start=6) == []


def test_an_iteration_keeps_the_epoch_it_began_with():
    one = sampler()
    first = iter(one)
    one.epoch = 1
    assert list(first) == epoch_of(sampler(), 0)


def test_few_images_come_again_until_there_are_enough_steps():
    steps = epoch_of(sampler(min_steps=15))  # of 16 images each, 240 of 100
    draws = [draw for batch in steps for draw in batch]
    assert [len(batch) for batch in steps] == [16] * 15
    assert len(set(draws)) == 240  # an image that comes again has other random numbers
    assert all(sorted(draw.image for draw in draws[first : first + 100]) == list(range(100)) for first in (0, 100))
    assert [draw.image for draw in draws[:100]] != [draw.image for draw in draws[100:200]]
    assert steps[:6] == epoch_of(sampler())
    assert epoch_of(sampler(min_steps=15), start=9) == steps[9:]


def test_enough_images_come_once():
    assert epoch_of(sampler(min_steps=6), 3) == epoch_of(sampler(), 3)
    assert len(sampler(batch_size=128, min_steps=4)) == 4
    assert [len(batch) for batch in epoch_of(sampler(batch_size=128, min_steps=4))] == [100] * 4


def test_last_short_batch_is_dropped_unless_it_is_the_only_one():
    assert [len(batch) for batch in epoch_of(sampler())] == [16] * 6
    assert [len(batch) for batch in epoch_of(sampler(batch_size=128))] == [100]
    assert (len(sampler()), len(sampler(batch_size=128)), len(sampler(batch_size=100))) == (6, 1, 1)


@pytest.mark.parametrize("batch_size", [16, 128])
def test_processes_share_every_batch_evenly(batch_size):
    alone = epoch_of(sampler(batch_size=batch_size))
    shares = [epoch_of(sampler(batch_size=batch_size, rank=rank, world=4)) for rank in range(4)]
    for batch, *parts in zip(alone, *shares, strict=True):
        assert len({len(part) for part in parts}) == 1
        assert sorted(batch) == sorted(draw for part in parts for draw in part)


def test_uneven_share_is_an_error():
    with pytest.raises(UsageError, match=r"batch_size 16 must be a multiple of the 3 processes"):
        sampler(world=3)
    with pytest.raises(UsageError, match=r"2 training images are too few for 4 processes"):
        EpochSampler(LABELS[:2], order="shuffle", batch_size=8, seed=0, world=4)


def test_random_numbers_are_a_function_of_seed_and_draw():
    def numbers(seed, draw):
        return tuple(sample_random(seed, draw).random(8))

    keys = [SampleKey(epoch, image, repeat) for epoch in (0, 1) for image in (0, 1, 2) for repeat in (0, 1)]
    places = [(seed, key) for seed in (0, 1, -1) for key in keys]
    assert len({numbers(*place) for place in places}) == len(places)
    assert numbers(1, SampleKey(2, 3)) == numbers(1, SampleKey(2, 3))


def test_streams_of_neighbours_do_not_overlap():
    long = sample_random(0, SampleKey(0, 0)).random(100_000)
    assert not np.isin(sample_random(0, SampleKey(0, 1)).random(100), long).any()
    assert not np.isin(sample_random(0, SampleKey(0, 0, 1)).random(100), long).any()


@given(st.lists(st.integers(0, 4), max_size=30))
def test_occurrences_counts_equal_values_before(values):
    assert occurrences(np.array(values, np.int64)).tolist() == [values[:place].count(value) for place, value in enumerate(values)]


def test_an_image_drawn_again_in_an_epoch_gets_other_random_numbers():
    draws = [draw for batch in epoch_of(sampler(order="class_aware")) for draw in batch]
    assert len(set(draws)) == len(draws)
    assert max(draw.repeat for draw in draws) == 1


SHARDS = np.random.default_rng(1).permutation(np.repeat(np.arange(40), 50))


def by_shards(batch_size=16, **changes):
    return EpochSampler(SHARDS, **{"order": "by_shard", "batch_size": batch_size, "seed": 0, "groups": SHARDS, **changes})


@pytest.mark.parametrize("batch_size", [3, 16, 20, 96, 2000])
def test_by_shard_each_image_comes_once_and_batches_mix_few_shards(batch_size):
    batches = [indices for indices, _ in by_shards(batch_size).shares(epoch=0)]
    images = np.concatenate(batches)
    assert len(images) == len(np.unique(images)) == 2000 // batch_size * batch_size
    held = [len(np.unique(SHARDS[batch])) for batch in batches]
    assert min(batch_size, MIXED_SHARDS) / 2 < np.mean(held)
    if batch_size <= 96:
        assert max(held) <= 2 * MIXED_SHARDS
    assert sorted(by_shard(SHARDS, np.random.default_rng(0)).tolist()) == list(range(2000))


def test_by_shard_the_next_epoch_has_another_order():
    firsts = [SHARDS[by_shards().share(epoch, 0)].tolist() for epoch in (0, 1)]
    assert firsts[0] != firsts[1]


@pytest.mark.parametrize("world", [2, 4, 8, 16])
def test_by_shard_processes_read_their_own_shards_and_together_the_same_batches(world):
    whole = list(by_shards().shares(epoch=3))
    parts = [list(by_shards(rank=rank, world=world).shares(epoch=3)) for rank in range(world)]
    for number, (indices, _) in enumerate(whole):
        assert np.concatenate([part[number][0] for part in parts]).tolist() == indices.tolist()
    held = [len(np.unique(SHARDS[np.concatenate([indices for indices, _ in part])])) for part in parts]
    assert max(held) <= 40 // min(world, MIXED_SHARDS) + 2
