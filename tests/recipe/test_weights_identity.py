"""Which weights a recipe names is the same however their place is written."""

from pathlib import Path

import pytest

from made_runs import tiny
from senet.recipe.weights_identity import weights_identity

RUN = "se-seed0-0123456789ab"


def test_a_place_is_told_whole_and_releases_as_they_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / RUN
    file.write_bytes(b"")
    (tmp_path / "mine").mkdir()
    (tmp_path / "link").symlink_to("mine")
    assert weights_identity("mine") == weights_identity(str(tmp_path / "mine")) == weights_identity("link") == str(tmp_path / "mine")
    assert weights_identity(RUN) == str(file)  # a digest in the name of a file is not one of a recipe
    assert [weights_identity(text) for text in ("timm/resnet18", "hf:user/repo", "gone")] == ["timm/resnet18", "hf:user/repo", "gone"]


def test_a_run_that_its_name_tells_is_the_same_wherever_it_lies_and_before_it_is_there(tmp_path: Path) -> None:
    (tmp_path / RUN).mkdir()
    assert {weights_identity(text) for text in (RUN, f"runs/{RUN}", f"{tmp_path}/{RUN}", f"{tmp_path}/../{RUN}/")} == {RUN}
    assert weights_identity("runs/se-0123456789AB") == "runs/se-0123456789AB"


def test_a_digest_has_the_identity_of_all_weights_that_a_recipe_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    for name, named in (("model__weights", str), ("model__options", lambda place: {"encoder_weights": str(place)})):
        here, there, other = (tiny(**{name: named(place)}).digest() for place in ("mine", tmp_path / "mine", "x"))
        assert here == there != other
