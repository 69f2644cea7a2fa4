import time

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from senet.data.philox import LARGEST_BOUND, Streams
from senet.data.samplers import SampleKey, sample_random

WORD = st.integers(0, 2**64 - 1)


def generators(key, counters):
    words = [(np.array(key, np.uint64), np.array([0, 0, *map(int, counter)], np.uint64)) for counter in counters]
    return [np.random.Generator(np.random.Philox(key=key, counter=counter)) for key, counter in words]


BOUNDS = st.one_of(st.integers(1, 40), st.integers(1, LARGEST_BOUND), st.integers(2**31, LARGEST_BOUND))
DRAWS = st.lists(st.one_of(st.just("random"), st.just("uniform"), BOUNDS), min_size=1, max_size=12)


@given(key=st.tuples(WORD, WORD), counters=st.lists(st.tuples(WORD, WORD), min_size=1, max_size=20), draws=DRAWS)
@settings(max_examples=150)
def test_rows_draw_what_numpys_generators_do(key, counters, draws):
    streams, expected = Streams(key, np.array(counters, np.uint64)), generators(key, counters)
    for draw in draws:
        if draw == "random":
            assert streams.random().tolist() == [one.random() for one in expected]
        elif draw == "uniform":
            assert streams.uniform(-3.5, 0.1).tolist() == [one.uniform(-3.5, 0.1) for one in expected]
        else:
            assert streams.integers(draw).tolist() == [int(one.integers(draw)) for one in expected]


def test_rows_go_on_from_places_of_their_own():
    counters = np.arange(2000).reshape(-1, 2)
    streams, expected = Streams((3, 4), counters), generators((3, 4), counters)
    choice = np.random.default_rng(0)
    for _ in range(30):
        rows = np.flatnonzero(choice.random(len(streams)) < 0.5)
        bounds = choice.integers(1, 2**32, len(rows)) >> choice.integers(0, 32, len(rows))
        bounds = np.maximum(bounds, 1)
        assert streams.integers(bounds, rows).tolist() == [
            int(expected[row].integers(bound)) for row, bound in zip(rows, bounds, strict=True)
        ]
        rows = np.flatnonzero(choice.random(len(streams)) < 0.5)
        assert streams.random(rows).tolist() == [expected[row].random() for row in rows]


def test_rejected_words_are_drawn_again():
    bound = 2**31 + 1  # almost half of all words are rejected
    streams, expected = Streams((0, 0), np.arange(1000).reshape(-1, 2)), generators((0, 0), np.arange(1000).reshape(-1, 2))
    for _ in range(5):
        assert streams.integers(bound).tolist() == [int(one.integers(bound)) for one in expected]


def test_several_integers_are_as_many_draws():
    streams, (expected,) = Streams((1, 2), np.array([[0, 5]])), generators((1, 2), [(0, 5)])
    assert [int(streams.integers(9)[0]) for _ in range(5)] == expected.integers(9, size=5).tolist()
    assert [float(streams.uniform(-1, 2)[0]) for _ in range(5)] == expected.uniform(-1, 2, 5).tolist()


def test_rows_of_a_sample_are_its_own_generator():
    streams = Streams((7, 3), np.array([[0, 11], [1, 11]]))
    assert streams.random().tolist() == [sample_random(7, SampleKey(3, 11, repeat)).random() for repeat in (0, 1)]


@pytest.mark.parametrize("bound", [0, LARGEST_BOUND + 1])
def test_other_bounds_are_refused(bound):
    with pytest.raises(ValueError, match="bounds must lie between 1 and 4294967295"):
        Streams((0, 0), np.zeros((2, 2))).integers(bound)


def test_no_rows_are_taken():
    streams = Streams((0, 0), np.empty((0, 2)))
    assert (len(streams.random()), len(streams.integers(5))) == (0, 0)


def test_an_epoch_of_cifar_is_drawn_in_less_time_than_its_first_steps_take():
    streams = Streams((0, 0), np.stack([np.zeros(50_000, np.int64), np.arange(50_000)], 1))
    start = time.process_time()
    streams.random(), streams.integers(9), streams.integers(9)
    assert time.process_time() - start < 0.5
