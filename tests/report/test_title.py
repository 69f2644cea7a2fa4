"""Title of a comparison's page: what was varied, in the words of those who vary it."""

from dataclasses import replace
from typing import Any

import pytest

from made_results import make_result
from senet.report.title import title


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([{"model.block": None}, {"model.block": "se"}, {"model.block": "scse"}], "How do blocks compare"),
        ([{"model.block": None}, {"model.block": "se", "model.reduction": 8}], "How do blocks and reduction ratios compare"),
        ([{"optim.lr": 0.1}, {"optim.lr": 0.2}], "How do learning rates compare"),
        ([{"training.label_smoothing": 0.0}, {"training.label_smoothing": 0.1}], "How do values of label smoothing compare"),
        ([{"model.compress": "none"}, {"model.compress": "fold"}], "What does folding cost"),
        ([{"model.compress": "l1_0.7"}, {"model.compress": "none"}, {"model.compress": "gate0.5"}], "What does pruning cost"),
        ([{"model.compress": one} for one in ("none", "fold0.5", "gate0.7", "l1_0.7")], "What do folding and pruning cost"),
        ([{"model.compress": "gate0.7"}, {"model.compress": "l1_0.7"}], "How do ways of pruning compare"),
        (
            [{"model.block": "se", "model.compress": "none"}, {"model.block": "sse", "model.compress": "fold", "training.epochs": 4}],
            "How do blocks, ways of folding and numbers of epochs compare",
        ),
    ],
)
def test_title_asks_what_was_varied(changes: list[dict[str, Any]], words: str) -> None:
    result = make_result({str(change): [1.0] for change in changes})
    variants = tuple(replace(variant, changes=change) for variant, change in zip(result.variants, changes, strict=True))
    assert title(replace(result, variants=variants)) == f"{words} on digits?"


def test_title_of_a_block_against_none() -> None:
    assert title(make_result({"plain": [98.0], "SE": [98.5]})) == "What does SE buy on digits?"


@pytest.mark.parametrize(
    ("name", "root", "shown"),
    [
        ("cifar10", "downloads", "cifar10"),
        ("coco_boxes", "scans/blood_cells", "blood_cells"),
        ("folder", "/photos/", "photos"),
        ("masks", "..", "masks"),
        ("mine.py:cells", "scans", "mine.py:cells"),
    ],
)
def test_title_names_the_images_not_how_their_folder_is_laid_out(name: str, root: str, shown: str) -> None:
    result = make_result({"plain": [98.0], "SE": [98.5]})
    recipe = replace(result.recipe, data=replace(result.recipe.data, name=name, root=root))
    assert title(replace(result, recipe=recipe, data=replace(result.data, name=name))) == f"What does SE buy on {shown}?"
