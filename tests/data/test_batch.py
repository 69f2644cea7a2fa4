"""Samples become batches, whatever the targets; targets go where the images go."""

import numpy as np
import torch

from senet.data.batch import Batch, Sample, collate


def test_numbers_become_tensors_of_their_kind() -> None:
    image = torch.ones(1, 2, 2)
    classes = collate([Sample(image, np.int64(3), []), Sample(None, None, ["a"]), Sample(image, np.int64(1), ["b"])])
    assert classes.images.shape == (2, 1, 2, 2)
    assert classes.targets.tolist() == [3, 1]
    assert classes.targets.dtype == torch.int64
    assert classes.corrupt == ["a", "b"]
    assert collate([Sample(image, np.float32(0.5), [])]).targets.dtype == torch.float32
    assert collate([Sample(image, torch.zeros(4), [])] * 3).targets.shape == (3, 4)


def test_a_batch_knows_which_images_of_the_set_it_holds() -> None:
    image = torch.ones(1, 2, 2)
    batch = collate([Sample(image, 0, [], 7), Sample(None, None, ["a"], None), Sample(image, 0, [], 3)])
    assert list(batch.to(torch.device("meta")).indices) == [7, 3]
    assert list(collate([Sample(image, 0, [], 7), Sample(image, 0, [])]).indices) == [], "one that is not known would shift the others"


def test_nothing_readable_is_an_empty_batch() -> None:
    batch = collate([Sample(None, None, ["a"])])
    assert (len(batch.images), len(batch.targets), batch.corrupt) == (0, 0, ["a"])


def test_a_batch_moves_with_all_of_its_targets() -> None:
    targets = [{"boxes": torch.zeros(2, 4), "name": "a"}, {"boxes": torch.zeros(0, 4), "name": "b"}]
    batch = Batch(torch.zeros(2, 3, 4, 4), targets, []).to(torch.device("meta"), torch.channels_last)
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert batch.images.is_meta
    assert all(target["boxes"].is_meta for target in batch.targets)
    assert [target["name"] for target in batch.targets] == ["a", "b"]
