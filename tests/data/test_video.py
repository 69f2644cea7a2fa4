"""Frames of videos: which, when, which way up, and what a damaged or foreign file says."""

import sys
from pathlib import Path

import numpy as np
import pytest

from data.made_videos import write_video
from senet.data.source import UnreadableImageError
from senet.data.video import FrameStep, is_video, video_frames
from senet.errors import UsageError

GREYS = [0, 40, 80, 120, 160, 200, 240]
ALL = FrameStep()


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("videos") / "clip.mp4", GREYS)


@pytest.mark.parametrize(
    ("text", "frames"), [("1", range(7)), ("3", (0, 3, 6)), ("0.25s", (0, 3, 5)), ("0.1s", range(7)), ("9s", (0,)), ("20", (0,))]
)
def test_frames_are_taken_by_number_or_by_time(video: Path, text: str, frames: tuple[int, ...]) -> None:
    found = list(video_frames(video, FrameStep.parse(text), 10**6))
    assert [moment.frame for moment, _ in found] == list(frames)
    assert [moment.seconds for moment, _ in found] == pytest.approx([frame / 10 for frame in frames])
    for moment, image in found:
        assert (image.mode, image.size) == ("RGB", (48, 32))
        assert np.abs(np.asarray(image, int) - GREYS[moment.frame]).max() < 8


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "0s", "0.0s", "s", "1 s", "1m", "\u0663"])
def test_what_is_no_step(text: str) -> None:
    with pytest.raises(UsageError, match=r"10 or 0\.5s"):
        FrameStep.parse(text)


def test_a_video_that_was_filmed_upright_is_upright(video: Path, tmp_path: Path) -> None:
    content = bytearray(video.read_bytes())
    place = content.index(b"tkhd") + 4 + 40  # ISO/IEC 14496-12, 8.3.2: nine numbers of 32 bits, u and v and w of 2.30, others of 16.16
    turned = (0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)  # a quarter, clockwise
    content[place : place + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in turned)
    (tmp_path / "turned.mp4").write_bytes(content)
    _, image = next(video_frames(tmp_path / "turned.mp4", ALL, 10**6))
    assert image.size == (32, 48)


def test_a_truncated_video_gives_its_frames_and_then_the_reason(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.avi", GREYS)
    (tmp_path / "text.mp4").write_text("nothing")
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXTINF:1,\n/etc/passwd\n")
    for name in ("text.mp4", "list.mp4", "missing.mp4"):
        with pytest.raises(UnreadableImageError, match=name):
            list(video_frames(tmp_path / name, ALL, 10**6))
    with pytest.raises(UnreadableImageError, match=r"whole.avi: has 48 x 32 pixels, more than data.max_pixels 1000"):
        list(video_frames(whole, ALL, 1000))


def test_what_is_taken_for_a_video() -> None:
    assert [is_video(name) for name in ("a.mp4", "b/A.MKV", "a.gif", "mp4", "a.m3u8")] == [True, True, False, False, False]


def test_without_the_extra_one_line_says_so(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UsageError, match=r"pip install 'senet\[video\]'"):
        next(video_frames(video, ALL, 10**6))
