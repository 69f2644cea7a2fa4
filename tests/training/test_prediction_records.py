"""Lines of predictions: each whole and at once in the file, gone on with behind the last whole one, and by the same means alone."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from senet.atomic import DiskFullError
from senet.errors import UsageError
from senet.training.prediction_records import LOOK, PredictionRecords

ABOUT = {"weights": ["ab12"], "top_k": 5, "range": (0.0, 1.0)}


def record(name: str, **other: Any) -> dict[str, Any]:
    return {"image": name, "error": None, **other}


def begun(path: Path, about: dict[str, Any] = ABOUT, *, force: bool = False) -> PredictionRecords:
    records = PredictionRecords(path, force=force)
    records.begin(about)
    return records


def test_each_line_is_there_at_once_and_the_next_process_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "found.jsonl"
    records = begun(path)
    records.add(record("a", score=float("nan")))
    assert json.loads(path.read_text()) == {"image": "a", "error": None, "score": None}
    records.add({"image": "b\udcff", "error": "damaged"})
    records.close()
    again = begun(path)
    assert list(again.done()) == ["a", "b\udcff"]
    assert (again.images, again.unreadable, again.added) == (2, 1, 0)
    again.add(record("c"))
    again.close()
    assert [json.loads(line)["image"] for line in path.read_text().splitlines()] == ["a", "b\udcff", "c"]
    assert json.loads(again.about.read_text()) == {**ABOUT, "range": [0.0, 1.0]}


@pytest.mark.parametrize("torn", ['{"image": "b"', "\0" * 100, "x" * (2 * LOOK + 1)], ids=["half", "zeros", "long"])
@pytest.mark.parametrize("lines", [0, 2])
def test_a_torn_last_line_is_cut(tmp_path: Path, torn: str, lines: int) -> None:
    path = tmp_path / "found.jsonl"
    records = begun(path)
    for number in range(lines):
        records.add(record(f"{number}"))
    records.close()
    before = path.read_bytes()
    path.write_bytes(before + torn.encode())
    again = begun(path)
    again.close()
    assert path.read_bytes() == before
    assert len(list(again.done())) == lines


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": ["cd34"]}, r'was begun with weights \["ab12"\], now \["cd34"\]; name another file, or --force'),
        ({"top_k": 1, "crops": "ten"}, r'was begun with top_k 5, now 1, crops null, now "ten"'),
    ],
)
def test_other_means_are_refused_and_the_file_stays(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "found.jsonl"
    records = begun(path)
    records.add(record("a"))
    records.close()
    before = path.read_bytes()
    with pytest.raises(UsageError, match=message):
        begun(path, {**ABOUT, **change})
    assert path.read_bytes() == before
    begun(path, {**ABOUT, **change}, force=True).close()
    assert path.read_bytes() == b""


@pytest.mark.parametrize("about", [None, "", "[]", "3", "{"])
def test_a_file_that_says_nothing_of_its_making_is_not_touched(tmp_path: Path, about: str | None) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text('{"text": "mine"}\n')
    if about is not None:
        PredictionRecords(path).about.write_text(about)
    with pytest.raises(UsageError, match="does not say what it was made with"):
        begun(path)
    assert path.read_text() == '{"text": "mine"}\n'


@pytest.mark.parametrize("line", ["{}", "[1]", "nothing", '{"image": "b"}', '{"image": [], "error": null}'])
def test_a_line_that_is_no_prediction_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "found.jsonl"
    records = begun(path)
    records.add(record("a"))
    records.close()
    with path.open("a") as file:
        file.write(f"{line}\n")
    again = begun(path)
    with pytest.raises(UsageError, match="line 2 is no prediction"):
        list(again.done())
    again.close()


def test_images_are_known_by_their_lines_and_by_the_note_before_their_files(tmp_path: Path) -> None:
    path = tmp_path / "found.jsonl"
    records = begun(path)
    with records.noted(["a\udcff", "b"]):
        assert PredictionRecords(path).known(ABOUT) == {"a\udcff", "b"}, "before the first line is there"
        records.add(record("a\udcff"))
    with records.noted(["c"]):
        assert PredictionRecords(path).known(ABOUT) == {"a\udcff", "c"}
    with pytest.raises(UsageError, match="in the way"), records.noted(["d"]):
        raise UsageError("in the way")
    with path.open("a") as file:
        file.write('{"image": "e", "error": null}')
    assert PredictionRecords(path).known(ABOUT) == {"a\udcff"}
    records.close()
    begun(path).close()
    with pytest.raises(UsageError, match="was begun with top_k"):
        PredictionRecords(path).known({**ABOUT, "top_k": 1})
    assert PredictionRecords(path, force=True).known(ABOUT) == set()


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    records = begun(tmp_path / "found.jsonl")
    records.add(record("a"))
    other = PredictionRecords(records.path)
    with pytest.raises(UsageError, match="another process writes"):
        other.begin(ABOUT)
    records.close()


def test_what_a_second_process_wrote_before_the_first_began_stays(tmp_path: Path) -> None:
    slow = PredictionRecords(tmp_path / "found.jsonl")
    quick = begun(slow.path)
    quick.add(record("a"))
    quick.close()
    before = slow.path.read_bytes()
    with pytest.raises(UsageError, match=r"has written .* meanwhile; repeat the command"):
        slow.begin(ABOUT)
    assert slow.path.read_bytes() == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    records = begun(tmp_path / "found.jsonl")
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, records._file.fileno())
    os.close(full)
    with pytest.raises(DiskFullError, match="No space left on device; 0 images are there"):
        records.add(record("a"))
    records.close()
