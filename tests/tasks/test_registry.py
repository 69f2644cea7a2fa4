"""Tasks by name, and what a user's own must have."""

from pathlib import Path

import pytest

from senet.errors import UsageError
from senet.recipe import Recipe, TrainingRecipe
from senet.tasks.classification import Classification
from senet.tasks.registry import open_task


def test_a_recipe_without_a_task_classifies_as_it_says() -> None:
    task = open_task(Recipe(training=TrainingRecipe(label_smoothing=0.2)))
    assert isinstance(task, Classification)
    assert task.label_smoothing == 0.2


def test_an_unknown_task_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown task 'classify' \(did you mean 'classification'\?\); allowed: classification, path/to"):
        open_task(Recipe(task="classify"))


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ("()", "must have `metrics`: a tuple of at least one"),
        ("('mae',)", "must have `metrics`: a tuple of at least one"),
        ("(Metric('seconds', 'seconds'),)", "has a metric of the name 'seconds', which is taken"),
        ("(Metric('loss', 'loss'),)", "has a metric of the name 'loss', which is taken"),
        ("(Metric('a', 'a'), Metric('a', 'b'))", "has a metric of the name 'a', which is taken"),
    ],
)
def test_metrics_that_cannot_work_are_one_line(tmp_path: Path, metrics: str, message: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(f"from senet.tasks.task import Metric\n\nclass Mine:\n    metrics = {metrics}\n    def __init__(self, recipe): ...\n")
    with pytest.raises(UsageError, match=message):
        open_task(Recipe(task=f"{path}:Mine"))
