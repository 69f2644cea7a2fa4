"""Tasks by name: those of the package, and a user's own."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from importlib import import_module

from senet.errors import UsageError, choice_error
from senet.recipe import Recipe
from senet.results.run import RESERVED_METRICS
from senet.tasks.task import Metric, Task
from senet.userfile import in_user_file, load_function

TASKS = {
    "classification": "senet.tasks.classification",
    "segmentation": "senet.tasks.segmentation.task",
    "detection": "senet.tasks.detection.task",
}
"""The home module of each task; its `create(recipe)` returns a `Task`, as a factory of a user's file does."""

PIPELINE_TAGS = {"classification": "image-classification", "segmentation": "image-segmentation", "detection": "object-detection"}
"""What the Hugging Face hub calls a task."""


def open_task(recipe: Recipe) -> Task:
    """Return the task of a recipe: one of `TASKS`, or path/to/file.py:factory. Such a file is run; the factory takes the recipe.

    Raises:
        UsageError: for an unknown name, a section that is for another task, or a factory whose task lacks something, or has metrics that
            cannot be told apart.
    """
    name = recipe.task
    factory = _factory(name)
    if name in TASKS:
        _check_sections(recipe)
    task = factory(recipe)
    metrics = getattr(task, "metrics", ())
    if not isinstance(metrics, Sequence) or not metrics or not all(isinstance(metric, Metric) for metric in metrics):
        raise UsageError(f"task {name} must have `metrics`: a tuple of at least one senet.tasks.task.Metric, the first one primary")
    names = [metric.name for metric in metrics]
    taken = [name for name in names if name in RESERVED_METRICS | {"loss"} or names.count(name) > 1]
    if taken:
        raise UsageError(f"task {name} has a metric of the name {taken[0]!r}, which is taken; give it another")
    missing = [part for part in dir(Task) if not part.startswith("_") and not hasattr(task, part)]
    if missing:
        raise UsageError(
            f"task {name} lacks {', '.join(missing)} of senet.tasks.task.Task; senet.tasks.image_task.ImageTask has most of them"
        )
    return task


def _check_sections(recipe: Recipe) -> None:
    """Raise UsageError if a section with the name of another task, which alone reads it, is not at its defaults."""
    for section in (entry.name for entry in fields(recipe) if entry.name in TASKS and entry.name != recipe.task):
        given, defaults = getattr(recipe, section), getattr(Recipe, section)
        if given != defaults:
            changed = next(field for field in fields(given) if getattr(given, field.name) != getattr(defaults, field.name)).name
            raise UsageError(
                f"the recipe gives {section}.{changed}, which {recipe.task} does not read: leave it out, or set task to {section}"
            )


def _factory(name: str) -> Callable[[Recipe], Task]:
    if in_user_file(name):
        return load_function(name, "task")
    if name not in TASKS:
        raise choice_error("task", name, [*TASKS, "path/to/file.py:factory"])
    return import_module(TASKS[name]).create
