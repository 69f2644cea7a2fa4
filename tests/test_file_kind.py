"""Paths that users write: each is a path, or one line."""

from pathlib import Path

import pytest

from senet.data.source import open_data
from senet.errors import UsageError
from senet.file_kind import user_path
from senet.recipe import DataRecipe
from senet.weights.source import Source

NOBODY = "~nobody-of-this-name/images"


def test_the_home_folder_is_followed_and_an_unknown_user_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_path("~/images") == tmp_path / "images"
    assert user_path(NOBODY) == Path(NOBODY)
    assert user_path("größe/ a b/../c") == Path("größe/ a b/../c")


@pytest.mark.parametrize("source", ["folder", "cifar10", "places365"])
@pytest.mark.parametrize("root", [NOBODY, "x" * 300, "x/" * 3000, "\ud800"])
def test_a_root_that_cannot_be_is_one_line(source: str, root: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_data(DataRecipe(name=source, root=root))
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("path", ["x" * 300 + ".safetensors", "a\0.safetensors"])
def test_weights_at_a_path_that_cannot_be_are_one_line(path: str) -> None:
    with pytest.raises(UsageError, match=r"too long for a path|characters that no path can have"):
        Source.parse(path)
