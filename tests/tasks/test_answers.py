"""Answers of a task that cannot be used are refused, with what was wanted and what came."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from senet.data.batch import Batch, collate
from senet.data.source import ArrayImages, DataSource
from senet.errors import UsageError
from senet.recipe import DataRecipe, ModelRecipe
from senet.results.curves import CurveChart
from senet.results.metric import Metric
from senet.spec import InputSpec
from senet.tasks.answers import (
    average_of,
    average_of_one,
    classes_of,
    counts_of,
    curves_of,
    evaluator_of,
    inputs_of,
    losses_of,
    metrics_of,
    network_of,
    noise_of,
    open_source,
    prediction_of,
    tables_of,
)


class Answering:
    """Task that answers one thing to everything."""

    metrics = (Metric("mae", "mean absolute error", "%", higher_is_better=False),)

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def open(self, recipe: DataRecipe) -> Any:
        return self.answer

    def _answer(self, *arguments: Any, **options: Any) -> Any:
        return self.answer

    loss = counts = build = evaluator = noise = image_classes = predict = _answer


def metrics_found(answer: Any) -> dict[str, float]:
    return metrics_of(Answering(None), SimpleNamespace(compute=lambda: answer))  # pyright: ignore[reportArgumentType] - only what is used


def tables_found(answer: Any) -> Any:
    return tables_of(Answering(None), SimpleNamespace(tables=lambda: answer))  # pyright: ignore[reportArgumentType] - only what is used


def test_tables_become_plain_data() -> None:
    assert tables_of(Answering(None), SimpleNamespace()) == {}  # pyright: ignore[reportArgumentType] - only what is used
    found = tables_found({"class": {"a": {"dice": np.float32(0.5), "pixels": 3, "iou": float("nan"), "recall": None}}})
    assert found == {"class": {"a": {"dice": 0.5, "pixels": 3, "iou": None, "recall": None}}}
    assert [type(value) for value in found["class"]["a"].values()] == [float, int, type(None), type(None)]
    assert type(tables_found({"class": {"a": {"pixels": np.int64(3)}}})["class"]["a"]["pixels"]) is int


@pytest.mark.parametrize(
    "answer", [None, 3, {"class": 3}, {"class": {"a": 3}}, {"class": {"a": {"dice": "high"}}}, {"class": {"a": {2: 1.0}}}, {3: {}}]
)
def test_tables_of_another_kind_are_refused(answer: Any) -> None:
    with pytest.raises(
        UsageError, match=r"Answering's evaluator's tables must return a mapping table -> row -> column -> number or None, "
    ):
        tables_found(answer)


def curves_found(answer: Any) -> Any:
    return curves_of(Answering(None), SimpleNamespace(curves=lambda: answer))  # pyright: ignore[reportArgumentType] - only what is used


def test_curves_are_taken_as_they_are() -> None:
    assert curves_of(Answering(None), SimpleNamespace()) == {}  # pyright: ignore[reportArgumentType] - only what is used
    given = {"IoU 0.5": CurveChart("recall %", "precision %", (0.0, 100.0), {"all": (1.0, 0.5)})}
    assert curves_found(given) is given
    assert curves_found({}) == {}


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [1.0],
        {"a": [1.0, 2.0]},
        {"a": CurveChart("x", "y", (0.0, 1.0), {"all": (float("nan"), 1.0)})},
        {3: CurveChart("x", "y", (0.0, 1.0), {"all": (1.0, 1.0)})},
        {"a": CurveChart("x", "y", (0.0,), {"all": (1.0,)})},
    ],
)
def test_curves_of_another_kind_are_refused(answer: Any) -> None:
    with pytest.raises(
        UsageError, match=r"^Answering's evaluator's curves must return a mapping chart -> CurveChart of finite numbers, got "
    ):
        curves_found(answer)


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
        ({"loss": torch.ones(()), "part": 1.0}, r"{'loss': a tensor of shape \(\), 'part': float}"),
    ],
)
def test_losses_without_one_to_minimise_are_refused(answer: Any, got: str) -> None:
    wanted = "a mapping in which 'loss' is a tensor of one element, and others are"
    with pytest.raises(UsageError, match=f"loss must return {wanted}, got {got}$"):
        losses_of(Answering(answer), None, None)  # pyright: ignore[reportArgumentType] - only what is used


@pytest.mark.parametrize(
    ("answer", "got"), [(3, "int"), ({"loss": 1.0}, "{'loss': float}"), ({"mae": "x", "loss": 1.0}, "{'mae': str, 'loss': float}")]
)
def test_metrics_that_are_missing_or_no_numbers_are_refused(answer: Any, got: str) -> None:
    with pytest.raises(UsageError, match=f"compute must return a mapping to a number of each of mae, loss, got {got}$"):
        metrics_found(answer)


def test_metrics_are_those_of_the_task_and_the_loss() -> None:
    assert metrics_found({"mae": 1, "loss": 2.0, "other": 3.0}) == {"mae": 1, "loss": 2.0}


def test_a_loss_that_nothing_can_be_learnt_from_is_refused() -> None:
    answering = Answering({"loss": torch.tensor(1.0)})
    with pytest.raises(UsageError, match="must return a 'loss' that depends on the outputs, got one without a gradient"):
        losses_of(answering, None, None)  # pyright: ignore[reportArgumentType] - only what is used
    with torch.no_grad():
        assert losses_of(answering, None, None) == answering.answer  # pyright: ignore[reportArgumentType]


BATCH = Batch(torch.zeros(2, 1, 4, 4), torch.zeros(2), [])
ASKED: dict[str, Callable[[Any], Any]] = {
    "counts": lambda task: counts_of(task, None, None),
    "build": lambda task: network_of(task, ModelRecipe(), source()),
    "evaluator": lambda task: evaluator_of(task, source(), torch.device("cpu")),
    "noise": lambda task: noise_of(task, source(), 2),
    "image_classes": lambda task: classes_of(task, BATCH),
    "predict": lambda task: prediction_of(task, None, None, top_k=1),
}
"""Method of a task -> how it is asked."""


def source(**changes: Any) -> DataSource:
    images = ArrayImages("made", np.zeros((3, 4, 4), np.uint8), np.arange(3))
    spec = InputSpec(size=4, resize=4, channels=1, mean=(0.5,), std=(0.5,))
    return replace(DataSource("made", images, images, ("a", "b", "c"), spec), **changes)


@pytest.mark.parametrize("method", ASKED)
@pytest.mark.parametrize("answer", [3, "text", (), [1.0], {"a": 1}, torch.ones(5, 2), object()], ids=lambda value: type(value).__name__)
def test_whatever_a_task_answers_is_one_line(method: str, answer: Any) -> None:
    with pytest.raises(UsageError, match=rf"^Answering's {method} must return .*, got [^\n]*$"):
        ASKED[method](Answering(answer))


@pytest.mark.parametrize("method", [method for method in ASKED if method != "image_classes"])
def test_a_method_that_returns_nothing_is_one_line(method: str) -> None:
    with pytest.raises(UsageError, match=rf"^Answering's {method} must return .*, got NoneType$"):
        ASKED[method](Answering(None))


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("counts", {}),
        ("counts", {"hits": torch.ones(1)}),
        ("build", nn.Identity()),
        ("evaluator", SimpleNamespace(update=print, compute=print)),
        ("noise", BATCH),
        ("image_classes", None),
        ("image_classes", torch.tensor([1, 0])),
        ("image_classes", torch.tensor([[1, 0, 7], [0, 0, 2]])),
        ("predict", SimpleNamespace(to_dict=dict)),
    ],
)
def test_what_can_be_used_is_returned_as_it_is(method: str, answer: Any) -> None:
    assert ASKED[method](Answering(answer)) is answer


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": "abc"}, None),
        ({"classes": ("a", 1)}, r"a DataSource whose classes are a tuple of str, got \('a', 1\)$"),
        ({"classes": None}, "a DataSource whose classes are a tuple of str, got None$"),
        ({"classes": ("a", "b\udce9")}, r"^the class name 'b\\udce9' of made is not UTF-8 and cannot be written to a file; rename it$"),
        ({"val": ArrayImages("none", np.zeros((0, 4, 4), np.uint8), np.arange(0))}, "^made has no validation images"),
    ],
)
def test_a_source_that_would_fail_at_the_end_is_refused_at_the_start(changes: dict[str, Any], message: str | None) -> None:
    opened = source(**changes)
    if message is None:
        assert open_source(Answering(opened), DataRecipe()) is opened  # pyright: ignore[reportArgumentType] - only what is used
        return
    with pytest.raises(UsageError, match=message):
        open_source(Answering(opened), DataRecipe())  # pyright: ignore[reportArgumentType] - only what is used


class Alone:
    """Task whose network is called with images alone."""

    collate = staticmethod(collate)

    def average(self, models: Any, *inputs: Any) -> Any:
        return inputs


class WithTargets(Alone):
    """Task whose network is called with targets too."""

    def inputs(self, images: Any, targets: Any) -> tuple[Any, ...]:
        return images, targets, "more"


def test_a_network_is_called_with_images_unless_its_task_says_more() -> None:
    images, targets = torch.zeros(2, 1, 4, 4), torch.zeros(2)
    batch, cpu = Batch(images, targets, []), torch.device("cpu")
    alone: Any = Alone()
    more: Any = WithTargets()
    assert inputs_of(alone, images, targets) == average_of(alone, [], batch) == (images,)
    assert inputs_of(more, images, targets) == average_of(more, [], batch) == (images, targets, "more")
    (one,) = average_of_one(alone, [], images[0], None, cpu)
    assert one.shape == (1, 1, 4, 4)
    one, target, _ = average_of_one(more, [], images[0], 3.0, cpu)
    assert (one.shape, target.tolist()) == ((1, 1, 4, 4), [3.0])


@pytest.mark.parametrize("answer", [None, (), [1], torch.zeros(2)], ids=lambda value: type(value).__name__)
def test_inputs_that_are_no_tuple_are_refused(answer: Any) -> None:
    task: Any = SimpleNamespace(inputs=lambda images, targets: answer)
    with pytest.raises(UsageError, match="inputs must return a tuple of what the network is called with, got "):
        inputs_of(task, None, None)


def test_noise_may_be_a_list_of_images() -> None:
    noise = Batch([torch.zeros(1, 4, 6)] * 2, torch.zeros(2), [])
    assert noise_of(Answering(noise), source(), 2) is noise  # pyright: ignore[reportArgumentType] - only what is used
