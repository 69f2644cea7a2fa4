"""A batch in parts gives the step of the whole batch; what cannot be split is refused."""

from typing import Any

import pytest
import torch

from made_runs import tiny
from senet.data.batch import Batch
from senet.data.delivery import DataError
from senet.errors import UsageError
from senet.training.accumulation import BatchPart, batch_parts, check_parts, figures_of_parts
from senet.training.job import Job, prepare
from senet.training.step import EagerStep, train_step
from senet.training.tally import Figures

STANDING = {"training__freeze_bn_epochs": 3}
"""BatchNorm that stands still: the images of a batch do not depend on each other."""


def taken(steps: int = 6, **changes: Any) -> tuple[Job, list[list[float]]]:
    """Return a job that has taken some steps in float64, and what they logged."""
    job = prepare(tiny(data__batch_size=19, data__workers=0, training__ema_decay=0.5, optim__clip_norm=1.0, **STANDING | changes))
    job.model.double()
    assert job.average is not None
    job.average.double()
    job.training_mode()
    step, figures = EagerStep(job, job.wrap()), []
    for _, batch in zip(range(steps), job.batches.epoch(0), strict=False):
        figures.append(train_step(job, step, Batch(batch.images.double(), batch.targets, [])).values.tolist())
        job.state.batch += 1
    return job, figures


@pytest.mark.parametrize("count", [2, 4, 19])
def test_parts_are_the_whole_batch(count: int) -> None:
    (whole, logged), (parts, logged_of_parts) = taken(), taken(training__accumulate=count)
    torch.testing.assert_close(logged_of_parts, logged, rtol=1e-5, atol=1e-6)  # float32
    for name in ("model", "average"):
        states = [getattr(job, name).state_dict() for job in (whole, parts)]
        for key, tensor in states[0].items():
            torch.testing.assert_close(states[1][key], tensor, rtol=1e-10, atol=1e-12, msg=f"{name} {key}")


def test_targets_of_every_kind_are_split() -> None:
    images, numbers = torch.rand(5, 3, 2, 2), torch.arange(5)
    masks = torch.rand(5, 2, 2)
    targets = {"class": numbers, "more": [masks, numbers]}
    first, second = batch_parts(images, targets, 2)
    assert [first.share, second.share] == [0.4, 0.6]
    assert torch.equal(torch.cat([first.images, second.images]), images)
    assert second.targets["class"].tolist() == [2, 3, 4]
    assert torch.equal(second.targets["more"][0], masks[2:])
    boxes = [{"boxes": torch.rand(count, 4)} for count in (5, 0, 2, 1, 5)]
    assert [part.targets for part in batch_parts(images, boxes, 2)] == [boxes[:2], boxes[2:]]
    squares = [torch.rand(3, 3, 3) for _ in range(3)]  # as many as the first of their lengths: one for each image
    assert [part.targets for part in batch_parts(squares, squares, 3)] == [[square] for square in squares]


def test_what_cannot_be_split_is_refused() -> None:
    with pytest.raises(UsageError, match=r"targets of a batch: .* of its 4 images .* this is a tensor of shape \(3, 2\); leave it at 1"):
        batch_parts(torch.rand(4, 3, 2, 2), torch.rand(3, 2), 2)
    with pytest.raises(UsageError, match="this is a list of 3"):
        batch_parts([torch.rand(1, 2, 2)] * 4, [1, 2, 3], 2)
    with pytest.raises(DataError, match="1 images of a batch can be read"):
        batch_parts(torch.rand(1, 3, 2, 2), torch.zeros(1), 2)
    with pytest.raises(UsageError, match=r"training\.accumulate 5 takes the 4 images of each of 2 processes in parts: at most 4"):
        check_parts(5, 8, 2)
    with pytest.raises(UsageError, match="takes the 8 images in parts"):
        prepare(tiny(data__batch_size=8, training__accumulate=9))


def test_means_are_weighed_and_sums_added() -> None:
    parts = [BatchPart(None, None, 0.25), BatchPart(None, None, 0.75)]
    figures = [Figures(torch.tensor([loss, hits]), ("loss",), ("hits",)) for loss, hits in ((4.0, 1.0), (8.0, 2.0))]
    assert figures_of_parts(figures, parts).values.tolist() == [7.0, 3.0]
