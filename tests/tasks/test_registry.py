"""Tasks by name, and what a user's own must have."""

from pathlib import Path

import pytest

from senet.errors import UsageError
from senet.recipe import Recipe, SegmentationRecipe, TrainingRecipe
from senet.recipe.build import override
from senet.recipe.plain_tree import plain_tree
from senet.tasks.classification import Classification
from senet.tasks.registry import open_task


def test_a_recipe_without_a_task_classifies_as_it_says() -> None:
    task = open_task(Recipe(training=TrainingRecipe(label_smoothing=0.2)))
    assert isinstance(task, Classification)
    assert task.label_smoothing == 0.2


@pytest.mark.parametrize(
    ("task", "changes", "message"),
    [
        (
            "classification",
            {"segmentation.loss": "dice"},
            r"gives segmentation\.loss, which classification does not read.*task to segmentation",
        ),
        ("classification", {"detection.longest_side": 9}, r"gives detection\.longest_side, which classification .*task to detection"),
        ("segmentation", {"detection.outlines": True}, r"gives detection\.outlines, which segmentation does not read"),
        ("detection", {"segmentation.flips": True}, r"gives segmentation\.flips, which detection does not read"),
    ],
)
def test_what_only_another_task_reads_is_refused(task: str, changes: dict[str, object], message: str) -> None:
    recipe = override(Recipe(task=task), changes)
    with pytest.raises(UsageError, match=message):
        open_task(recipe)
    section = next(iter(changes)).partition(".")[0]
    defaults = plain_tree(getattr(Recipe, section))
    open_task(override(Recipe(task=task), {f"{section}.{name}": value for name, value in defaults.items()}))


def test_a_task_of_ones_own_reads_any_section(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("from senet.tasks.segmentation.task import create\n\n\ndef mine(recipe):\n    return create(recipe)\n")
    open_task(Recipe(task=f"{path}:mine", segmentation=SegmentationRecipe(loss="dice")))


def test_an_unknown_task_names_the_nearest() -> None:
    with pytest.raises(
        UsageError,
        match=r"unknown task 'classify' \(did you mean 'classification'\?\); allowed: classification, .*detection, path/to",
    ):
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


def test_a_task_that_lacks_something_fails_before_it_is_missed(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    head = "from senet.tasks.image_task import ImageTask\nfrom senet.tasks.task import Metric\n\n"
    body = "    metrics = (Metric('mae', 'error'),)\n    def __init__(self, recipe): ...\n    def loss(self, outputs, targets): ...\n"
    path.write_text(f"{head}class Mine(ImageTask):\n{body}")
    with pytest.raises(UsageError, match=r"lacks evaluator, noise, predict of senet\.tasks\.task\.Task; .*ImageTask has most of them$"):
        open_task(Recipe(task=f"{path}:Mine"))
    path = tmp_path / "bare.py"
    path.write_text(f"{head}class Mine:\n{body}")
    with pytest.raises(UsageError, match=r"lacks average, build, collate, .*image_classes, .*train_transform of"):
        open_task(Recipe(task=f"{path}:Mine"))
