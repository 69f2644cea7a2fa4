"""Videos of single colours, for tests."""

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np


def write_video(path: Path, greys: Sequence[int], *, rate: int = 10, size: tuple[int, int] = (48, 32)) -> Path:
    """Write a video of one grey a frame, (width, height) pixels."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for grey in greys:
            frame = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), grey, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
