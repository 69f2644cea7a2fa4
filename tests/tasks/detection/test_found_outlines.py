"""Probabilities of pixels become outlines of the image as it was read."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from senet.tasks.detection import found_outlines as module
from senet.tasks.detection.found_outlines import found_outlines


@pytest.mark.parametrize("at_once", [1, 7 * 9 * 2, 2**24])
def test_outlines_are_resized_probabilities_of_a_half_or_more(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(module, "PIXELS_AT_ONCE", at_once)
    masks = torch.rand(5, 11, 13, generator=torch.Generator().manual_seed(0))
    kept = torch.tensor([3, 0, 4])
    expected = functional.interpolate(masks[kept][None], (7, 9), mode="bilinear")[0] >= 0.5
    found = found_outlines(masks, kept, (7, 9))
    assert [shape["size"] for shape in found.shapes] == [[7, 9]] * 3
    assert (found.pixels(7, 9) == expected.numpy()).all()


def test_masks_of_the_images_own_size_stay_as_they_are() -> None:
    masks = torch.tensor([[[0.5, 0.49], [1.0, 0.0]]])
    assert found_outlines(masks, torch.tensor([0]), (2, 2)).pixels(2, 2).tolist() == [[[True, False], [True, False]]]
    assert (found_outlines(masks > 0.6, torch.tensor([0]), (2, 2)).pixels(2, 2) == np.array([[[False, False], [True, False]]])).all()


def test_nothing_that_is_found_has_no_outline() -> None:
    assert len(found_outlines(torch.zeros(0, 4, 5), torch.zeros(0, dtype=torch.int64), (8, 9))) == 0
    assert len(found_outlines(torch.zeros(2, 4, 5), torch.zeros(0, dtype=torch.int64), (8, 9))) == 0
