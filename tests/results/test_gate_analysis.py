"""What freezing a block loses, in words."""

import pytest

from senet.analysis.frozen import BlockEffect
from senet.measuring.scores import Loss
from senet.results.gate_analysis import loss_words


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (Loss(0.02, -0.05, 0.09), ("0.02", "(\N{MINUS SIGN}0.05 to 0.09)")),
        (Loss(-1.0), ("\N{MINUS SIGN}1.00", "")),
        (Loss(0.5, 0.25, 0.75, unit=""), ("0.50", "(0.25 to 0.75)")),
    ],
)
def test_loss_and_interval_are_told_apart(loss: Loss, words: tuple[str, str]) -> None:
    assert loss_words(BlockEffect("se", "SE_1_1", {"none": loss}), "none", 2) == words
