"""Answers of a task that cannot be used are refused, with what was wanted and what came."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from senet.errors import UsageError
from senet.recipe import DataRecipe
from senet.results.metric import Metric
from senet.tasks.answers import losses_of, metrics_of, open_source


class Answering:
    """Task that answers one thing to everything."""

    metrics = (Metric("mae", "mean absolute error", "%", higher_is_better=False),)

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def open(self, recipe: DataRecipe) -> Any:
        return self.answer

    def loss(self, outputs: Any, targets: Any) -> Any:
        return self.answer


def metrics_found(answer: Any) -> dict[str, float]:
    return metrics_of(Answering(None), SimpleNamespace(compute=lambda: answer))  # pyright: ignore[reportArgumentType] - only what is used


def test_a_source_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match=r"Answering's open must return a senet\.data\.source\.DataSource, got NoneType"):
        open_source(Answering(None), DataRecipe())  # pyright: ignore[reportArgumentType] - only what is used


@pytest.mark.parametrize(
    ("answer", "got"),
    [
        (torch.tensor(1.0), r"a tensor of shape \(\)"),
        ({"los": torch.tensor(1.0)}, r"{'los': a tensor of shape \(\)}"),
        ({"loss": 3.0}, "{'loss': float}"),
        ({"loss": torch.ones(2)}, r"{'loss': a tensor of shape \(2,\)}"),
    ],
)
def test_losses_without_one_to_minimise_are_refused(answer: Any, got: str) -> None:
    with pytest.raises(UsageError, match=f"loss must return a mapping in which 'loss' is a tensor of one element, got {got}$"):
        losses_of(Answering(answer), None, None)  # pyright: ignore[reportArgumentType] - only what is used


@pytest.mark.parametrize(
    ("answer", "got"), [(3, "int"), ({"loss": 1.0}, "{'loss': float}"), ({"mae": "x", "loss": 1.0}, "{'mae': str, 'loss': float}")]
)
def test_metrics_that_are_missing_or_no_numbers_are_refused(answer: Any, got: str) -> None:
    with pytest.raises(UsageError, match=f"compute must return a mapping to a number of each of mae, loss, got {got}$"):
        metrics_found(answer)


def test_metrics_are_those_of_the_task_and_the_loss() -> None:
    assert metrics_found({"mae": 1, "loss": 2.0, "other": 3.0}) == {"mae": 1, "loss": 2.0}
