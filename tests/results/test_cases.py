"""Single images of a comparison as plain data, and back."""

import json
from typing import Any

import pytest

from made_results import make_result, with_cases
from senet.errors import UsageError
from senet.results.comparison import Result


def tree() -> dict[str, Any]:
    return json.loads(json.dumps(with_cases(make_result({"plain": [90.0], "SE": [91.0]})).to_dict()))


def test_cases_survive_json() -> None:
    result = with_cases(make_result({"plain": [90.0], "SE": [91.0]}))
    assert Result.from_dict(tree()).cases == result.cases
    assert result.cases is not None
    assert len(result.cases.files) == len(set(result.cases.files)) == 3 * (2 + 2 * 2 + 2)


def test_gates_may_be_left_out() -> None:
    changed = tree()
    for image in changed["cases"]["images"]:
        for variant in image["variants"]:
            del variant["gates"]
    cases = Result.from_dict(changed).cases
    assert cases is not None
    assert {variant.gates for image in cases.images for variant in image.variants} == {()}


@pytest.mark.parametrize("file", ["/etc/passwd", "../secret.webp", "pictures/../x.webp", "pictures/", ".hidden/x", "a/b/c.webp", "", "x"])
def test_a_picture_lies_in_a_folder_beside_the_result(file: str) -> None:
    changed = tree()
    changed["cases"]["images"][0]["pictures"][0]["file"] = file
    with pytest.raises(UsageError, match=r"cases\.images\[0\]\.pictures\[0\]\.file: expected a file in a folder"):
        Result.from_dict(changed)


@pytest.mark.parametrize(("key", "value"), [("ranked", 0), ("images", []), ("legend", {"a": [0, 0]}), ("legend", {"a": [0, 0, 256]})])
def test_other_cases_are_refused(key: str, value: Any) -> None:
    changed = tree()
    changed["cases"][key] = value
    with pytest.raises(UsageError, match=f"^comparison: cases.{key}"):
        Result.from_dict(changed)


def test_an_image_tells_of_every_variant() -> None:
    changed = tree()
    del changed["cases"]["images"][1]["variants"][0]
    with pytest.raises(UsageError, match="the median image does not tell of each variant"):
        Result.from_dict(changed)
