"""Which images words lead to: files, folders, patterns, lists, standard input and videos, in a fixed order."""

import io
import tracemalloc
from collections.abc import Iterable
from operator import length_hint
from pathlib import Path
from types import SimpleNamespace

import pytest

from data.made_videos import write_video
from senet.data.given_images import GivenImages, ListedImage
from senet.data.video import FrameStep
from senet.errors import UsageError


def in_folder(folder: Path) -> Iterable[ListedImage]:
    found = [path for path in sorted(folder.iterdir()) if path.suffix == ".png"]
    if not found:
        raise UsageError(f"{folder}: there are no images in this folder")
    return [ListedImage(path, path.relative_to(folder)) for path in found]


def given(*words: str | Path, step: FrameStep = FrameStep()) -> GivenImages:  # noqa: B008 - frozen
    return GivenImages(words, in_folder, lambda path: ListedImage(path, Path(Path(path).name)), step, 10**6)


def names(images: GivenImages) -> list[str]:
    return [str(image) for image in images]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("a/2.png", "a/1.png", "a/b/3.png", "a/b/x.txt", "[1].png", "@odd.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_words_lead_to_files_in_their_order(place: Path) -> None:
    (place / "list.txt").write_text("a/2.png\n\n  a \nmissing.png")
    images = given("a/1.png", "@list.txt", "a/**/*.png", "a/?.png", "gone.jpg")
    images.check()
    listed = ["a/2.png", "a/1.png", "a/2.png", "missing.png"]
    matched = ["a/1.png", "a/2.png", "a/b/3.png"]
    assert names(images) == ["a/1.png", *listed, *matched, *matched[:2], "gone.jpg"] == names(images)
    assert length_hint(images) == 11


def test_what_is_there_is_no_pattern_or_list(place: Path) -> None:
    assert names(given("[1].png", "@odd.png")) == ["[1].png", "@odd.png"]


def test_a_pattern_passes_over_folders(place: Path) -> None:
    assert names(given("a/**")) == ["a/1.png", "a/2.png", "a/b/3.png", "a/b/x.txt"]


def test_standard_input_is_read_line_by_line(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = iter([b"a/1.png\n", b"a\n"])
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=lines))
    images = given("-")
    images.check()
    assert length_hint(images, -1) == -1
    listed = iter(images)
    assert str(next(listed)) == "a/1.png"
    assert next(lines) == b"a\n", "it was not read ahead"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a/*.jpg"], "no file has a name of this pattern"),
        (["@gone.txt"], "gone.txt must be a file that lists images"),
        (["@empty.txt"], "@empty.txt: this list names no images"),
        (["-", "a", "-"], "standard input is read once"),
        (["a/1.png", "c"], "there are no images in this folder"),
    ],
)
def test_a_word_that_leads_to_nothing_is_found_out_before_any_work(place: Path, words: list[str], message: str) -> None:
    (place / "empty.txt").write_text("\n")
    (place / "c").mkdir()
    with pytest.raises(UsageError, match=message):
        given(*words).check()


def test_closed_standard_input_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(UsageError, match="standard input is closed"):
        list(given("-"))


def test_frames_of_a_video_stand_where_it_is(tmp_path: Path) -> None:
    video = write_video(tmp_path / "clip.mp4", [0, 100, 200])
    (tmp_path / "bad.mp4").write_bytes(video.read_bytes()[:300])
    images = given("x.png", video, tmp_path / "bad.mp4", "y.png", step=FrameStep(2))
    first, start, end, bad, last = images
    assert [str(image) for image in (first, start, end, last)] == ["x.png", f"{video}#t=0.000", f"{video}#t=0.200", "y.png"]
    assert end.frame is not None
    assert end.frame.getpixel((0, 0)) == pytest.approx((200, 200, 200), abs=8)
    assert bad.error is not None
    assert "bad.mp4" in bad.error
    assert length_hint(images, -1) == -1


def test_a_long_list_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def most_held(count: int) -> int:
        lines = (b"image_%02d.png\n" % (number % 100) for number in range(count))  # interned, as pathlib does
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BufferedReader(_Lines(lines))))
        tracemalloc.start()
        try:
            assert sum(1 for _ in given("-")) == count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    most_held(10)
    assert most_held(10_000) < most_held(200) + 50_000


class _Lines(io.RawIOBase):
    """Stream of lines that are made when they are read."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = iter(lines)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        line = next(self._lines, b"")
        buffer[: len(line)] = line
        return len(line)
