"""What is known of each image, as bytes in one block of memory: worker processes share it, where lists would be copied to each."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from senet.jsontext import json_text


class Entries:
    """Plain data by index.

    Args:
        entries: the data of each index.
    """

    def __init__(self, entries: Iterable[Any]) -> None:
        written = [_text(entry).encode() for entry in entries]
        self.ends = np.cumsum([len(part) for part in written], dtype=np.int64)
        self._bytes = b"".join(written)

    @classmethod
    def of_arrays(cls, ends: np.ndarray, content: np.ndarray) -> "Entries":
        """Return data from `ends`, (N,) int64, where the text of each ends, and `content`, the texts as (B,) uint8."""
        made = cls(())
        made.ends, made._bytes = ends, content.tobytes()
        return made

    @property
    def content(self) -> np.ndarray:
        """The texts, (B,) uint8."""
        return np.frombuffer(self._bytes, np.uint8)

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> Any:
        """Return a copy of the data of an index."""
        start = int(self.ends[index - 1]) if index else 0
        return json.loads(self._bytes[start : int(self.ends[index])])

    def digest(self) -> str:
        """Return what tells these data from others."""
        return hashlib.sha256(self.ends.tobytes() + self._bytes).hexdigest()


def _text(entry: Any) -> str:
    """Return data as JSON; a coordinate that is no finite number becomes null, which is no number either for whoever draws it."""
    try:
        return json.dumps(entry, separators=(",", ":"), allow_nan=False)
    except ValueError:
        return json_text(entry, indent=None)
