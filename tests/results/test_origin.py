"""What a run was made of, and how that differs from what is there today."""

from pathlib import Path
from typing import Any

import pytest

from made_runs import tiny
from senet.errors import UsageError
from senet.results.origin import check_origin, origin_differences, origin_of, reorders
from senet.weights.loaded import BEST_WEIGHTS

IMAGES = {split: {"count": 9, "fingerprint": "0" * 16} for split in ("train", "val")}
FACTS: dict[str, Any] = {"classes": ["a", "b", "c", "d", "e"], "images": IMAGES}
TODAY = origin_of(tiny(), FACTS)


def test_nothing_differs_from_itself_or_from_a_recipe_that_lacks_fields_of_this_version() -> None:
    assert origin_differences(TODAY, TODAY) == []
    earlier = {name: value for name, value in TODAY["recipe"]["training"].items() if name != "ema_decay"}
    assert origin_differences(TODAY | {"recipe": TODAY["recipe"] | {"training": earlier}}, TODAY) == []


def test_what_changes_no_weight_is_no_difference() -> None:
    other = origin_of(tiny(name="other", data__workers=3, data__root="x", training__save_steps=2), FACTS)
    assert origin_differences(TODAY, other) == []


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"classes": ["a", "b"]}, ["there were 5 classes, are 2"]),
        ({"classes": ["b", "a", "c", "d", "e"]}, ["class 0 was 'a', is 'b'", "class 1 was 'b', is 'a'"]),
        ({"classes": list("vwxyz")}, ["class 0 was 'a', is 'v'", "class 1 was 'b', is 'w'", "class 2 was 'c', is 'x'", "2 more classes"]),
        ({"classes": ["\x1b[31m", *"bcde"]}, ["class 0 was 'a', is '\\x1b[31m'"]),
        ({"images": IMAGES | {"train": {"count": 8, "fingerprint": "1"}}}, ["training images were 9, are 8"]),
        ({"images": IMAGES | {"val": {"count": 9, "fingerprint": "1"}}}, ["the list of the 9 validation images is another"]),
    ],
)
def test_differences_in_words(facts: dict[str, Any], words: list[str]) -> None:
    found = origin_differences(TODAY, origin_of(tiny(), FACTS | facts))
    assert len(found) == len(words)
    assert all(line.startswith(start) for line, start in zip(found, words, strict=True)), found


def test_weights_are_told_by_their_bytes_and_not_by_their_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, content in (("here", b"weights"), ("there", b"weights"), ("third", b"others")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / BEST_WEIGHTS).write_bytes(content)
    monkeypatch.chdir(tmp_path)
    before, *others = (origin_of(tiny(model__weights=str(place)), FACTS) for place in ("here", tmp_path / "here", "there", "third"))
    assert [origin_differences(before, other) for other in others] == [[], [], ["the weights here are others"]]
    part = (origin_of(tiny(model__options={"encoder_weights": place}), FACTS) for place in ("here", "there"))
    assert origin_differences(*part) == []
    assert origin_differences(origin_of(tiny(model__weights="timm/a"), FACTS), before) == ["model.weights was 'timm/a', is 'here'"]
    assert origin_differences(TODAY, before) == ["model.weights was null, is 'here'"]


@pytest.mark.parametrize(
    ("changes", "facts", "other_order"),
    [
        ({"seed": 1}, {}, True),
        ({"data__batch_size": 16}, {}, True),
        ({"data__sampler": "class_aware"}, {}, True),
        ({"optim__lr": 0.5, "training__epochs": 9}, {}, False),
        ({}, {"images": IMAGES | {"train": {"count": 9, "fingerprint": "1"}}}, True),
        ({}, {"images": IMAGES | {"val": {"count": 9, "fingerprint": "1"}}}, False),
    ],
)
def test_whether_training_images_come_in_another_order(changes: dict[str, Any], facts: dict[str, Any], other_order: bool) -> None:
    assert reorders(TODAY, origin_of(tiny(**changes), FACTS | facts)) is other_order


@pytest.mark.parametrize(
    "origin", [{}, [], TODAY | {"classes": "abc"}, TODAY | {"processes": 0}, TODAY | {"recipe": float("nan")}, TODAY | {"x": 1}]
)
def test_data_of_a_file_that_are_something_else(origin: Any) -> None:
    with pytest.raises(UsageError, match=r"^last\.ckpt: origin"):
        check_origin(origin, "last.ckpt")


def test_a_recipe_of_another_version_is_one_line() -> None:
    with pytest.raises(UsageError, match="the recipe that it was begun with has an unknown field 'x'"):
        origin_differences(TODAY | {"recipe": {"x": 1}}, TODAY)
