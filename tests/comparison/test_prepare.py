"""What is checked and opened before anything is trained."""

import pytest

import senet.tasks.image_task as image_task
from senet.comparison.prepare import prepare_variants
from senet.comparison.variants import expand
from senet.data.source import DataSource, open_data
from senet.errors import UsageError
from senet.recipe import DataRecipe, load_recipe
from senet.tasks.classification import Classification


@pytest.mark.parametrize(
    ("vary", "opened"),
    [
        ({"block": ["none", "se"], "model.name": ["cifar_resnet20", "preresnet20"]}, 1),
        ({"block": ["none", "se"], "data.batch_size": [64, 32]}, 2),
    ],
    ids=["one data recipe", "two"],
)
def test_data_are_opened_once_for_each_data_recipe(monkeypatch: pytest.MonkeyPatch, vary: dict, opened: int) -> None:
    recipes = []

    def counted(data: DataRecipe) -> DataSource:
        recipes.append(data)
        return open_data(data)

    monkeypatch.setattr(image_task, "open_data", counted)
    variants = expand(load_recipe("digits"), vary)
    prepared = prepare_variants(variants)
    assert [one.variant for one in prepared] == variants
    assert len(variants) == 4
    assert recipes == list(dict.fromkeys(variant.recipe.data for variant in variants))
    assert len(recipes) == opened == len({id(one.source) for one in prepared})


def test_a_task_is_that_of_its_variant() -> None:
    prepared = prepare_variants(expand(load_recipe("digits"), {"training.label_smoothing": [0.0, 0.1]}))
    tasks = [one.task for one in prepared]
    assert [task.label_smoothing for task in tasks if isinstance(task, Classification)] == [0.0, 0.1]


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        ({"block": ["none", "see"]}, "variant 'see': unknown block 'see'"),
        ({"data.num_classes": [10, 11]}, "variant 'num classes 11': data.num_classes is 11"),
    ],
)
def test_the_variant_that_cannot_work_is_named(vary: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        prepare_variants(expand(load_recipe("digits"), vary))
