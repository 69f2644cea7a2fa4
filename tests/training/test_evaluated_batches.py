"""Evaluation holds one batch at a time, beside sums."""

import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from senet.data.batch import Batch
from senet.data.loaders import CorruptLog
from senet.data.source import ArrayImages, DataSource
from senet.recipe import Recipe
from senet.spec import InputSpec
from senet.tasks.registry import open_task
from senet.training.evaluate import score


@pytest.mark.parametrize("name", ["classification", "segmentation"])
def test_neither_images_nor_outputs_are_held(name: str) -> None:
    task, cpu, kept = open_task(Recipe(name="x", task=name)), torch.device("cpu"), list[weakref.ref[Tensor]]()
    dense = name == "segmentation"
    images = ArrayImages("noise", np.zeros((20, 8, 8), np.uint8), np.zeros((20, 8, 8) if dense else 20, np.int64))
    source = DataSource("noise", images, images, ("ground", "thing"), InputSpec(8, 8, 1, (0.5,), (0.5,)))

    class Noted(nn.Module):
        def forward(self, given: Tensor) -> Tensor:
            outputs = torch.stack([given[:, 0], -given[:, 0]], 1)
            outputs = outputs if dense else outputs.mean((2, 3))
            kept.append(weakref.ref(outputs))
            return outputs

    def batches() -> Iterator[Batch]:
        for number in range(10):
            assert sum(there() is not None for there in kept) <= 2, "of the batch before"
            targets: Any = [torch.zeros(8, 8, dtype=torch.uint8)] * 2 if dense else torch.zeros(2, dtype=torch.int64)
            batch = Batch(torch.rand(2, 1, 8, 8), targets, [], [2 * number, 2 * number + 1])
            kept.append(weakref.ref(batch.images))
            yield batch

    evaluation = score(task, [Noted()], task.evaluator(source, cpu), batches(), device=cpu, corrupt=CorruptLog(0, 20))
    assert (evaluation.images, len(kept)) == (20, 20)
