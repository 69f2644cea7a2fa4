"""Images with their classes, as what records gates takes them, out of the batches of any task."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from senet.data.batch import Batch
from senet.tasks.answers import classes_of
from senet.tasks.task import Task


def labelled_images(task: Task, batches: Iterable[Batch]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield images (N, C, H, W) with the class of each, (N,), or what each holds of every class, (N, K).

    Images without classes are all of class 0. Images of several sizes come one by one, unreadable ones not at all.

    Args:
        task: what is predicted of them.
        batches: the task's own.
    """
    for batch in batches:
        if not len(batch.images):
            continue
        classes = classes_of(task, batch)
        groups = torch.zeros(len(batch.images), dtype=torch.int64) if classes is None else classes
        if isinstance(batch.images, Tensor):
            yield batch.images, groups
        else:
            yield from ((image[None], group[None]) for image, group in zip(batch.images, groups, strict=True))
