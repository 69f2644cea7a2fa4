"""Images with their classes out of batches of any task."""

import torch

from senet.data.batch import Batch
from senet.tasks.classification import Classification
from senet.tasks.labelled import labelled_images
from tasks.regression_task import Ink


def test_images_come_with_their_classes_and_unreadable_batches_do_not() -> None:
    images, classes = torch.randn(3, 1, 4, 4), torch.tensor([2, 0, 1])
    batches = [Batch(torch.empty(0), torch.empty(0), ["gone"]), Batch(images, classes, [])]
    ((found, labels),) = labelled_images(Classification(), batches)
    assert found is images
    assert labels is classes


def test_images_of_several_sizes_come_one_by_one_and_without_classes_are_one_group() -> None:
    images = [torch.randn(1, 4, side) for side in (4, 6)]
    found = list(labelled_images(Ink(), [Batch(images, torch.zeros(2), [])]))
    assert [tuple(image.shape) for image, _ in found] == [(1, 1, 4, 4), (1, 1, 4, 6)]
    assert [label.tolist() for _, label in found] == [[0], [0]]
