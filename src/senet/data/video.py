"""Videos as images: their frames, decoded one after the other."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from PIL import Image

from senet.data.image_file import open_regular, unreadable
from senet.errors import Needing, UsageError

CONTAINERS = {
    ".avi": "avi",
    ".m4v": "mov",
    ".mkv": "matroska",
    ".mov": "mov",
    ".mp4": "mov",
    ".mpeg": "mpeg",
    ".mpg": "mpeg",
    ".webm": "matroska",
}
"""Suffix of a video -> FFmpeg's name of its format. Formats that lead to other files or to the network, such as playlists, are left
out, and no content is taken for another format than its suffix says."""

STEP = re.compile(r"(?P<frames>[1-9]\d{0,8})|(?P<seconds>\d{1,9}(\.\d{1,9})?)s")

EARLY = 1e-6
"""Parts of a step by which times of frames, which files round, come too early."""


@dataclass(frozen=True)
class FrameStep:
    """Choice of frames of a video, from its first on.

    Args:
        frames: the first of so many.
        seconds: instead, the first in so many seconds.
    """

    frames: int = 1
    seconds: float | None = None

    @classmethod
    def parse(cls, text: str) -> "FrameStep":
        """Read "10", each tenth frame, or "0.5s", one in half a second.

        Raises:
            UsageError: for anything else.
        """
        found = STEP.fullmatch(text)
        if found is None or (found["seconds"] is not None and not float(found["seconds"])):
            raise UsageError(f"frames are taken by their number or by seconds, 10 or 0.5s, got {text!r}")
        return cls(int(found["frames"])) if found["frames"] else cls(seconds=float(found["seconds"]))


@dataclass(frozen=True)
class Moment:
    """Place of a frame in its video.

    Args:
        frame: its number, from 0, whichever are taken.
        seconds: when it is shown.
    """

    frame: int
    seconds: float


def is_video(path: str | PathLike[str]) -> bool:
    """Return whether a file's name ends as that of a video."""
    return Path(path).suffix.lower() in CONTAINERS


def video_frames(path: str | PathLike[str], step: FrameStep, max_pixels: int) -> Iterator[tuple[Moment, Image.Image]]:
    """Yield frames of a video as RGB, upright.

    Raises:
        UnreadableImageError: if it is missing, damaged, larger than so many pixels, or holds no pictures; the message names it.
        UsageError: if PyAV is not installed.
    """
    av = import_av()
    begin, taken = None, -1
    with unreadable(str(path)), open_regular(path) as file, av.open(file, format=CONTAINERS[Path(path).suffix.lower()]) as container:
        if not container.streams.video:
            raise ValueError("holds no pictures")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for number, frame in enumerate(container.decode(stream)):
            if frame.width * frame.height > max_pixels:
                raise ValueError(f"has {frame.width} x {frame.height} pixels, more than data.max_pixels {max_pixels}")
            seconds = frame.time if frame.time is not None else number / float(stream.average_rate or 1)
            begin = seconds if begin is None else begin
            part = int((seconds - begin) / step.seconds + EARLY) if step.seconds else number // step.frames
            if part == taken:
                continue
            taken = part
            yield Moment(number, round(seconds, 3)), frame.to_image().rotate(frame.rotation, expand=True)


def import_av() -> Any:
    """Return PyAV.

    Raises:
        UsageError: if it is not installed.
    """
    with Needing("frames of videos need PyAV", "video"):
        import av
    return av
