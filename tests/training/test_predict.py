"""Predictions name the classes that the network finds likeliest, whatever the image file."""

import json
import os
import tracemalloc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from data.made_videos import write_video
from senet.data.given_images import ListedImage
from senet.data.image_file import ImageReading
from senet.data.loaders import DataError
from senet.data.video import FrameStep
from senet.errors import UsageError
from senet.models.create import create_model
from senet.spec import InputSpec
from senet.tasks.classification import ClassProbability, TopClasses
from senet.training.predict import ImagePrediction, PredictionPace, predict
from senet.training.prediction_files import PredictionFiles
from senet.training.prediction_records import PredictionRecords
from senet.training.predictor import BYTES_AT_ONCE, Prepared, groups
from senet.weights.store import save_weights

CLASSES = ("cat", "dog", "eel", "fox", "gnu", "hen")


def saved(path: Path, channels: int = 3, seed: int = 0, **metadata) -> Path:
    torch.manual_seed(seed)
    model = create_model("se_cifar_resnet20", num_classes=6, in_channels=channels)
    spec = InputSpec(size=16, resize=20, channels=channels, mean=(0.5,) * channels, std=(0.25,) * channels)
    save_weights(model, path, **({"classes": CLASSES, "input": spec} | metadata))
    return path


def guesses(found: ImagePrediction) -> tuple[ClassProbability, ...]:
    assert isinstance(found.prediction, TopClasses)
    return found.prediction.guesses


@pytest.fixture
def photograph(shared_data: Path) -> Path:
    return sorted((shared_data / "imagenet1k_sample" / "images").iterdir())[0]


def test_the_likeliest_classes_come_first_with_their_probabilities(tmp_path: Path, photograph: Path) -> None:
    (found,) = predict(saved(tmp_path / "w.safetensors"), [photograph], top_k=10)
    probabilities = [guess.probability for guess in guesses(found)]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1)
    assert {guess.name for guess in guesses(found)} == set(CLASSES)
    (short,) = predict(tmp_path / "w.safetensors", [photograph], top_k=2)
    assert guesses(short) == guesses(found)[:2]
    assert short.to_dict()["guesses"][0] == {"name": guesses(found)[0].name, "probability": probabilities[0]}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1"])
def test_colour_and_grey_files_go_into_colour_and_grey_networks(tmp_path: Path, channels: int, mode: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8)
    Image.fromarray(pixels).convert(mode).save(tmp_path / "image.png")
    (found,) = predict(saved(tmp_path / "w.safetensors", channels), [tmp_path / "image.png"])
    assert len(guesses(found)) == 5
    if mode == "RGB":  # the same grey picture, in another file
        Image.fromarray(pixels).save(tmp_path / "grey.png")
        (grey,) = predict(tmp_path / "w.safetensors", [tmp_path / "grey.png"])
        assert guesses(grey) == guesses(found)


def test_an_unreadable_image_does_not_stop_the_others(tmp_path: Path, photograph: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(photograph.read_bytes()[:500])
    images = [tmp_path / "broken.jpg", photograph, tmp_path / "missing.jpg"]
    broken, good, missing = predict(saved(tmp_path / "w.safetensors"), images)
    assert good.error is None
    assert len(guesses(good)) == 5
    for found in (broken, missing):
        assert found.prediction is None
        assert found.error is not None
        assert found.image in found.error
        assert "\n" not in found.error


def test_several_networks_are_averaged(tmp_path: Path, photograph: Path) -> None:
    paths = [saved(tmp_path / f"{seed}.safetensors", seed=seed) for seed in (0, 1)]
    one, other, both = ({g.name: g.probability for g in guesses(next(predict(p, [photograph], top_k=6)))} for p in (*paths, paths))
    assert both == pytest.approx({name: (one[name] + other[name]) / 2 for name in CLASSES})


def test_classes_without_names_are_numbered(tmp_path: Path, photograph: Path) -> None:
    (found,) = predict(saved(tmp_path / "w.safetensors", classes=None), [photograph])
    assert {guess.name for guess in guesses(found)} <= set("012345")


def test_what_cannot_work_is_one_line(tmp_path: Path, photograph: Path) -> None:
    with pytest.raises(UsageError, match="top_k must be at least 1"):
        predict(saved(tmp_path / "w.safetensors"), [photograph], top_k=0)
    with pytest.raises(UsageError, match="does not say what images it expects"):
        predict(saved(tmp_path / "w.safetensors", input=None), [photograph])


def test_a_folder_gives_all_its_images_in_the_order_of_training_beside_files(tmp_path: Path, photograph: Path, caplog) -> None:
    folder = tmp_path / "images"
    for name in ("b/2.png", "b/1.gif", "a.jpg", "@eaDir/a.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.open(photograph).save(folder / name)
    (folder / "b" / "up").symlink_to(folder)
    (folder / "notes.txt").write_text("")
    found = list(predict(saved(tmp_path / "w.safetensors"), [photograph, folder, str(photograph)]))
    assert [one.image for one in found] == [
        str(photograph),
        *(str(folder / name) for name in ("a.jpg", "b/1.gif", "b/2.png")),
        str(photograph),
    ]
    assert [one.error for one in found] == [None] * 5
    assert [message.split(": ")[1] for message in caplog.messages] == [
        "files left out, which are no images that are read, by suffix",
        "links to folders that are read by another path, left out",
    ]


def test_a_folder_without_images_is_refused_before_anything_is_predicted(tmp_path: Path, photograph: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "x.psd").write_text("")
    with pytest.raises(UsageError, match=r"empty: there are no images in this folder; .*by suffix: .psd 1$"):
        predict(saved(tmp_path / "w.safetensors"), [photograph, tmp_path / "empty"])


def test_deep_images_are_read_by_the_range_of_training_unless_another_is_stated(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "8.png")
    Image.fromarray(16 * pixels.astype(np.int32)).save(tmp_path / "12.tif")
    spec = InputSpec(size=16, resize=20, channels=3, mean=(0.5,) * 3, std=(0.25,) * 3)
    silent, stated = (saved(tmp_path / f"{name}.safetensors", input=replace(spec, range=limits)) for name, limits in RANGES.items())
    (eight,) = predict(silent, [tmp_path / "8.png"])
    for weights, reading in ((stated, ImageReading()), (silent, ImageReading((0, 4095)))):
        (twelve,) = predict(weights, [tmp_path / "12.tif"], reading=reading)
        assert guesses(twelve) == guesses(eight)
    (unknown,) = predict(silent, [tmp_path / "12.tif"])
    assert unknown.error is not None
    assert "mode I" in unknown.error


RANGES = {"silent": None, "stated": (0.0, 4095.0)}


def test_an_image_that_cannot_be_resized_is_named(tmp_path: Path) -> None:
    Image.new("1", (4, 1_000_000)).save(tmp_path / "line.png")
    (found,) = predict(saved(tmp_path / "w.safetensors"), [tmp_path / "line.png"])
    assert found.error == f"{tmp_path}/line.png: 4 x 1000000 pixels are too narrow: it would be resized to 20 x 5000000"


@pytest.mark.parametrize("device", ["mps", "xpu", "nonsense", "cuda:99", "meta"])
def test_a_device_that_is_not_there_is_refused(tmp_path: Path, device: str) -> None:
    with pytest.raises(UsageError, match=f"device '{device}'.*allowed: cpu"):
        predict(saved(tmp_path / "w.safetensors"), [tmp_path], device=device)


def test_answers_and_pictures_are_written_where_they_are_asked_for(tmp_path: Path, photograph: Path) -> None:
    files = PredictionFiles(tmp_path / "answers", tmp_path / "pictures")
    (found,) = predict(saved(tmp_path / "w.safetensors"), [photograph], files=files)
    assert found.files == {
        "out": str(tmp_path / "answers" / f"{photograph.stem}.json"),
        "overlay": str(tmp_path / "pictures" / f"{photograph.stem}.png"),
    }
    assert json.loads(Path(found.files["out"]).read_text())["guesses"] == list(found.to_dict()["guesses"])
    with Image.open(found.files["overlay"]) as picture, Image.open(photograph) as image:
        assert picture.width == image.width
        assert picture.height > image.height
    assert found.to_dict()["files"] == found.files


def test_fields_of_another_task_are_refused(tmp_path: Path, photograph: Path) -> None:
    with pytest.raises(UsageError, match=r"training\.epochs says nothing of how weights for classification predict"):
        predict(saved(tmp_path / "w.safetensors"), [photograph], changes={"epochs": 3})


def prepared(*sides: int | None) -> list[Prepared]:
    """Return images of so many pixels; None cannot be read."""
    return [Prepared(ListedImage("x", Path("x")), None if side is None else torch.zeros(3, side), None, None, None) for side in sides]


def sizes(images: Sequence[Prepared], most: int, most_bytes: float = BYTES_AT_ONCE) -> list[int]:
    return [len(group) for group in groups(images, most, most_bytes)]


def test_images_of_one_size_go_together_and_groups_begin_anew_at_multiples() -> None:
    assert sizes(prepared(4, 4, 4, 5, 5, None, 5, 4), 4) == [3, 1, 3, 1]
    assert sizes(prepared(None, None, 4, None, 4), 8) == [5]
    assert sizes(prepared(4, 4, 4, 4), 8, most_bytes=2 * 48) == [2, 2]
    assert sizes(prepared(4, 4), 8, most_bytes=1) == [1, 1]
    assert sizes(prepared(4, 4, 5, 5), 2) == [2, 2]
    images = prepared(4, 5, 5, 5, 5, 4, 4, 4, 4, 4)
    assert sizes(images, 3) == [1, 2, 2, 1, 3, 1]
    assert sizes(images[3:], 3) == [2, 1, 3, 1]


def test_a_full_group_waits_for_no_other_image() -> None:
    images = iter(prepared(4, None, 4, 4, 4))
    assert len(next(groups(images, 2, BYTES_AT_ONCE))) == 2
    assert len(list(images)) == 3


def test_a_live_list_gets_each_answer_before_it_names_the_next_image(tmp_path: Path, photograph: Path, monkeypatch) -> None:
    path = tmp_path / "found.jsonl"
    lines_there = []

    def live() -> Iterator[bytes]:
        for _ in range(3):
            lines_there.append(path.read_bytes().count(b"\n"))
            yield f"{photograph}\n".encode()

    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=live()))
    pace = PredictionPace(batch_size=1, workers=0)
    assert len(list(predict(saved(tmp_path / "w.safetensors"), ["-"], pace=pace, records=PredictionRecords(path)))) == 3
    assert lines_there == [0, 1, 2]


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Return a folder of images of several sizes, of which one cannot be read."""
    random = np.random.default_rng(0)
    (tmp_path / "many").mkdir()
    for number in range(9):
        pixels = random.integers(0, 256, (20 + number % 2, 24, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "many" / f"{number}.png")
    (tmp_path / "many" / "4.png").write_bytes(b"nothing")
    return tmp_path / "many"


@pytest.mark.parametrize("workers", [0, 2])
def test_order_and_answers_are_those_of_one_image_at_a_time(tmp_path: Path, many: Path, workers: int) -> None:
    weights = saved(tmp_path / "w.safetensors")
    single = list(predict(weights, [many], pace=PredictionPace(batch_size=1, workers=0)))
    together = list(predict(weights, [many], pace=PredictionPace(batch_size=4, workers=workers)))
    assert [one.image for one in together] == [one.image for one in single] == [str(many / f"{number}.png") for number in range(9)]
    assert [one.error for one in together] == [one.error for one in single]
    for one, other in zip(single, together, strict=True):
        if one.error is None:
            assert {g.name: g.probability for g in guesses(one)} == pytest.approx({g.name: g.probability for g in guesses(other)}, abs=1e-6)


@pytest.mark.parametrize("there", [0, 3, 4, 5, 8, 9])
def test_records_that_were_cut_anywhere_become_the_same_file(tmp_path: Path, many: Path, there: int) -> None:
    weights, path, pace = saved(tmp_path / "w.safetensors"), tmp_path / "found.jsonl", PredictionPace(batch_size=4, workers=0)
    list(predict(weights, [many], pace=pace, records=PredictionRecords(path)))
    lines = path.read_bytes().splitlines(keepends=True)
    assert [json.loads(line)["image"] for line in lines] == [str(many / f"{number}.png") for number in range(9)]
    path.write_bytes(b"".join(lines[:there]) + b"".join(lines[there : there + 1])[:-9])
    again = list(predict(weights, [many], pace=pace, records=PredictionRecords(path)))
    assert [one.image for one in again] == [str(many / f"{number}.png") for number in range(there, 9)]
    assert path.read_bytes() == b"".join(lines)


def test_records_of_other_images_are_refused(tmp_path: Path, many: Path) -> None:
    weights, path = saved(tmp_path / "w.safetensors"), tmp_path / "found.jsonl"
    list(predict(weights, [many], records=PredictionRecords(path)))
    (many / "3.png").unlink()
    with pytest.raises(UsageError, match=r"image 4 was .*3.png, and now it is .*4.png; give the same images"):
        list(predict(weights, [many], records=PredictionRecords(path)))
    with pytest.raises(UsageError, match=r"image 2 was .*1.png, and there is none any more"):
        list(predict(weights, [many / "0.png"], records=PredictionRecords(path)))


@pytest.mark.parametrize("there", [0, 2])
def test_interrupted_files_beside_records_are_written_over_by_the_same(tmp_path: Path, many: Path, monkeypatch, there: int) -> None:
    weights, files, path = saved(tmp_path / "w.safetensors"), PredictionFiles(overlay=tmp_path / "pictures"), tmp_path / "found.jsonl"
    images, left = sorted(many.iterdir())[:4], tmp_path / "pictures" / f"{there}.png"
    add = PredictionRecords.add

    def add_or_end(records: PredictionRecords, record: Mapping[str, Any]) -> None:
        if records.images == there:
            raise KeyboardInterrupt
        add(records, record)

    monkeypatch.setattr(PredictionRecords, "add", add_or_end)
    for _ in range(2):  # ended between a file and its line, again and again
        with pytest.raises(KeyboardInterrupt):
            list(predict(weights, images, files=files, records=PredictionRecords(path)))
        assert len(path.read_text().splitlines()) == there
        left.write_text("left behind")
    monkeypatch.undo()
    list(predict(weights, images, files=files, records=PredictionRecords(path)))
    with Image.open(left) as picture:
        assert picture.width == 24


def test_images_that_came_behind_records_write_over_no_file(tmp_path: Path, many: Path) -> None:
    weights, files, path = saved(tmp_path / "w.safetensors"), PredictionFiles(tmp_path / "out"), tmp_path / "found.jsonl"
    images, mine = sorted(many.iterdir())[:3], tmp_path / "out" / "2.json"
    list(predict(weights, images[:2], files=files, records=PredictionRecords(path)))
    begun = predict(weights, images, files=files, records=PredictionRecords(path))
    mine.write_text("mine")
    with pytest.raises(UsageError, match=r"out/2\.json exists"):
        list(begun)
    with pytest.raises(UsageError, match=r"out/2\.json exists"):
        predict(weights, images, files=files, records=PredictionRecords(path))
    assert mine.read_text() == "mine"
    assert len(path.read_text().splitlines()) == 2


def test_strict_ends_at_the_first_unreadable_image_and_repaired_it_goes_on(tmp_path: Path, many: Path) -> None:
    shown = []

    def watch(images: Iterable[ListedImage]) -> Iterator[ListedImage]:
        shown.append("begun")
        try:
            yield from images
        finally:
            shown.append("ended")

    weights, path, strict = saved(tmp_path / "w.safetensors"), tmp_path / "found.jsonl", PredictionPace(strict=True, watch=watch)
    with pytest.raises(DataError, match=r"cannot read .*4.png: .*; --strict") as error:
        list(predict(weights, [many], pace=strict, records=PredictionRecords(path)))
    assert shown == ["begun", "ended"], f"before {error.value} is told"
    assert len(path.read_text().splitlines()) == 4
    (many / "4.png").write_bytes((many / "3.png").read_bytes())
    assert len(list(predict(weights, [many], pace=strict, records=PredictionRecords(path)))) == 5


def test_frames_of_videos_are_named_by_time_and_have_files_below_their_video(tmp_path: Path, photograph: Path) -> None:
    video = write_video(tmp_path / "clip.mp4", [0, 50, 100, 150, 200])
    pace, files = PredictionPace(step=FrameStep(2)), PredictionFiles(tmp_path / "out")
    weights, records = saved(tmp_path / "w.safetensors"), PredictionRecords(tmp_path / "found.jsonl")
    found = list(predict(weights, [video, photograph], pace=pace, files=files, records=records))
    assert [one.image for one in found] == [f"{video}#t={second:.3f}" for second in (0, 0.2, 0.4)] + [str(photograph)]
    assert [one.to_dict().get("frame") for one in found] == [0, 2, 4, None]
    assert found[1].to_dict()["seconds"] == 0.2
    assert found[1].files["out"] == str(tmp_path / "out" / "clip" / "000002.json")
    assert list(predict(weights, [video, photograph], pace=pace, files=files, records=PredictionRecords(records.path))) == []


def test_frames_and_an_image_of_their_name_have_files_of_their_own(tmp_path: Path, photograph: Path) -> None:
    video = write_video(tmp_path / "clip.mp4", [0, 50, 100])
    (tmp_path / "images" / "clip").mkdir(parents=True)
    os.link(photograph, tmp_path / "images" / "clip" / f"000002{photograph.suffix}")
    found = list(predict(saved(tmp_path / "w.safetensors"), [tmp_path / "images", video], files=PredictionFiles(tmp_path / "out")))
    written = [Path(one.files["out"]) for one in found]
    assert [str(path.relative_to(tmp_path / "out")) for path in written] == [
        "clip/000002.json",
        *(f"clip-2/00000{n}.json" for n in range(3)),
    ]
    assert [json.loads(path.read_text())["guesses"] for path in written] == [list(one.to_dict()["guesses"]) for one in found]


def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path) -> None:
    weights, files = saved(tmp_path / "w.safetensors"), tmp_path / "files"
    files.mkdir()
    Image.new("RGB", (24, 20)).save(files / "0.png")
    for number in range(1, 300):
        os.link(files / "0.png", files / f"{number}.png")
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"nothing")

    def most_held(name: str, count: int) -> int:
        lines = [str(files / f"{number % 300}.png") if not number % 50 else str(broken) for number in range(count)]
        (tmp_path / name).write_text("\n".join(lines))
        records, pace = PredictionRecords(tmp_path / f"{name}.jsonl"), PredictionPace(workers=0, batch_size=16)
        del lines
        tracemalloc.start()
        try:
            assert sum(1 for _ in predict(weights, [f"@{tmp_path / name}"], pace=pace, records=records)) == count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    most_held("warm", 100)
    assert most_held("long", 2500) < most_held("short", 250) + 150_000
