"""Files of predictions: names, what is never written over, and that each is whole or not there."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st
from PIL import Image

from senet.data.given_images import ListedImage
from senet.errors import UsageError
from senet.training.prediction_files import PredictionFiles, distinct_stems

IMAGE = Image.new("RGB", (4, 3), "red")


@dataclass(frozen=True)
class Said:
    answer: str = "red"

    def to_dict(self) -> dict[str, Any]:
        return {"answer": self.answer}

    def draw(self, image: Image.Image) -> Image.Image:
        return image.copy()


@dataclass(frozen=True)
class Drawn(Said):
    suffix: str = ".txt"

    def write(self, path: Path) -> None:
        path.write_text(self.answer)


def listed(*names: str) -> list[ListedImage]:
    return [ListedImage(f"/images/{name}", Path(name)) for name in names]


def stems(*names: str) -> list[str]:
    return [str(stem) for stem in distinct_stems([Path(name) for name in names])]


def test_names_are_those_of_the_images_and_collisions_are_told_apart() -> None:
    assert stems("a.png", "sub/a.png", "b.c.tif") == ["a", "sub/a", "b.c"]
    assert stems("a.png", "a.jpg", "b.jpg") == ["a.png", "a.jpg", "b"]
    assert stems("A.png", "a.jpg") == ["A.png", "a.jpg"]
    assert stems("a.png", "A.PNG", "a.png") == ["a.png", "A.PNG-2", "a.png-3"]
    assert stems("a.mp4", "b.mp4", "A/000002.png", "a-2/x.png") == ["a-3", "b", "A/000002", "a-2/x"]


NAMES = ["a.png", "a.jpg", "A.png", "a.png.png", "a-2.png", "a.png-2.png", "b/a.png", "a", "a-2"]
FRAMES = ["a.mp4", "A.avi", "a/000002.png", "a.mp4/000002.png", "a-2/000002.png", "a-2.mp4"]


@given(st.lists(st.sampled_from([*NAMES, *FRAMES]), max_size=12))
def test_no_two_names_are_alike_whatever_the_images(names: list[str]) -> None:
    found = stems(*names)
    assert len({name.casefold() for name in found}) == len(names)
    frames = [f"{stem}/000002".casefold() for name, stem in zip(names, found, strict=True) if Path(name).suffix in {".mp4", ".avi"}]
    assert not {name.casefold() for name in found} & set(frames)


def test_each_task_writes_its_own_format_and_json_where_it_has_none(tmp_path: Path) -> None:
    files = PredictionFiles(tmp_path / "out", tmp_path / "pictures").planned(listed("a.png", "sub/b.png"))
    assert files.write(listed("a.png")[0], Said(), IMAGE) == {
        "out": str(tmp_path / "out/a.json"),
        "overlay": str(tmp_path / "pictures/a.png"),
    }
    assert files.write(listed("sub/b.png")[0], Drawn(), IMAGE)["out"] == str(tmp_path / "out/sub/b.txt")
    assert json.loads((tmp_path / "out/a.json").read_text()) == {"answer": "red"}
    assert (tmp_path / "out/sub/b.txt").read_text() == "red"
    with Image.open(tmp_path / "pictures/sub/b.png") as picture:
        assert picture.size == (4, 3)


def test_what_is_there_is_named_before_anything_is_predicted(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/b.nii.gz").write_text("mine")
    with pytest.raises(UsageError, match=r"out/b\.nii\.gz exists; move it away, name another folder, or --force"):
        PredictionFiles(tmp_path / "out").planned(listed("a.png", "b.png"))
    PredictionFiles(tmp_path / "out").planned(listed("a.png", "b.c.png"))  # which is b.c
    PredictionFiles(tmp_path / "out", force=True).planned(listed("a.png", "b.png"))


def test_files_of_known_images_are_written_over_and_those_of_others_are_not(tmp_path: Path) -> None:
    for name in ("a.b.txt", "c.txt"):
        (tmp_path / name).write_text("there")
    images = listed("a.png", "a.b.png", "c.png")
    with pytest.raises(UsageError, match=r"c\.txt exists"):
        PredictionFiles(tmp_path).planned(images, {"/images/a.b.png"})
    (tmp_path / "c.txt").unlink()
    files = PredictionFiles(tmp_path).planned(images, {"/images/a.b.png"})
    files.write(images[1], Drawn(), IMAGE)
    assert (tmp_path / "a.b.txt").read_text() == "red"
    (tmp_path / "c.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"c\.txt exists"):
        files.write(images[2], Drawn(), IMAGE)


def test_where_one_of_an_images_files_is_in_the_way_none_is_written(tmp_path: Path) -> None:
    files = PredictionFiles(tmp_path / "out", tmp_path / "pictures").planned(listed("a.png"))
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        files.write(listed("a.png")[0], Said(), IMAGE)
    assert not (tmp_path / "out").exists()


def test_what_came_to_be_there_since_is_not_written_over(tmp_path: Path) -> None:
    files = PredictionFiles(tmp_path / "out").planned(listed("a.png"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.txt").write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        files.write(listed("a.png")[0], Drawn(), IMAGE)
    assert (tmp_path / "out/a.txt").read_text() == "mine"


def test_force_writes_over_files_but_never_over_an_image_that_was_asked_for(tmp_path: Path) -> None:
    IMAGE.save(tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()
    images = [ListedImage(tmp_path / "a.png", Path("a.png"))]
    with pytest.raises(UsageError, match="exists"):
        PredictionFiles(overlay=tmp_path).planned(images)
    with pytest.raises(UsageError, match="is an image that was asked for"):
        PredictionFiles(overlay=tmp_path, force=True).planned(images).write(images[0], Said(), IMAGE)
    assert (tmp_path / "a.png").read_bytes() == before
    (tmp_path / "a.json").write_text("old")
    PredictionFiles(out=tmp_path, force=True).planned(images).write(images[0], Said(), IMAGE)
    assert json.loads((tmp_path / "a.json").read_text()) == {"answer": "red"}


def test_an_image_that_is_asked_for_twice_has_one_file(tmp_path: Path) -> None:
    images = listed("a.png", "a.png")
    files = PredictionFiles(tmp_path).planned(images)
    for image in images:
        files.write(image, Drawn(), IMAGE)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_one_folder_for_both_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="name two folders"):
        PredictionFiles(tmp_path, tmp_path / "." / "x" / "..").planned(listed("a.png"))


def test_an_interrupted_write_leaves_nothing(tmp_path: Path) -> None:
    class Interrupted(Drawn):
        def write(self, path: Path) -> None:
            path.write_text("half")
            raise KeyboardInterrupt

    files = PredictionFiles(tmp_path).planned(listed("a.png"))
    with pytest.raises(KeyboardInterrupt):
        files.write(listed("a.png")[0], Interrupted(), IMAGE)
    assert list(tmp_path.iterdir()) == []
