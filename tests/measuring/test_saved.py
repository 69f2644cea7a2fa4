"""Distinct storages count once, what was there before not at all, and nothing outlives the block."""

import gc
import weakref

import torch

from senet.measuring.saved import SavedBytes


def test_a_storage_counts_once_and_a_known_one_not_at_all():
    weight, x = torch.ones(100, requires_grad=True), torch.ones(100)
    with SavedBytes([weight]) as saved:
        product = weight * x  # keeps both factors
        assert saved.total == 400
        (product.view(10, 10) * product.view(10, 10)).sum()  # keeps the product twice
    assert saved.total == 800


def test_what_was_kept_is_freed_at_the_end_without_a_garbage_collection():
    gc.collect()
    gc.disable()
    try:
        x = torch.ones(100, requires_grad=True)
        with SavedBytes([x]) as saved:
            y = x * 2
            loss = y.square().sum()
        kept = weakref.ref(y)
        del y, loss
        assert kept() is None
        assert saved.total == 400
    finally:
        gc.enable()
