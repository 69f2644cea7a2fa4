"""What a network's training began from: which weights, told by a fingerprint. No torch."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from senet.file_kind import file_kind, user_path
from senet.schema import items, optional, plain_data, record, text
from senet.spec import BlockSpec

if TYPE_CHECKING:
    from torch import nn

BEST_WEIGHTS = "best.safetensors"
"""The file of a run's folder that holds its best weights."""

PIECE = 2**20
"""Bytes of a file that are read at once."""

LOADED = record(
    {
        "source": text(10_000),
        "fingerprint": text(64, low=64),
        "fresh": items(text(1000), high=10**5),
        "options": optional(record({}, others=plain_data(6))),
    },
    needed=("source", "fingerprint", "fresh", "options"),
)
"""The rule for what `LoadedWeights.to_dict` gives, read from a file."""


@dataclass(frozen=True)
class LoadedWeights:
    """Trained weights that a network was built with.

    Args:
        source: what the user wrote.
        fingerprint: SHA-256 of the file, or where there is none, of the tensors.
        fresh: what was not loaded but drawn: the head, where the weights have another number of classes.
        options: those of the network that the weights needed, such as v1_5.
    """

    source: str
    fingerprint: str
    fresh: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        options = {name: value.to_dict() if isinstance(value, BlockSpec) else value for name, value in self.options.items()}
        tree = {"source": self.source, "fingerprint": self.fingerprint, "fresh": list(self.fresh), "options": options}
        return json.loads(json.dumps(tree, allow_nan=False))  # one form, read from a file or not: keys of stages are text


def loaded_into(model: "nn.Module") -> LoadedWeights | None:
    """Return what a network, or one that it is made of, was built with; None if all of it was drawn."""
    found = (getattr(module, "loaded_weights", None) for module in model.modules())
    return next((loaded for loaded in found if isinstance(loaded, LoadedWeights)), None)


def fingerprint_of_file(path: Path) -> str:
    """Return the SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()


def file_of(source: str) -> str:
    """Return where weights are as `senet.load_weights` takes it: for a run's folder, the file of its best ones."""
    return str(user_path(source) / BEST_WEIGHTS) if file_kind(user_path(source)) == "folder" else source


def called_after(weights: str | Path) -> str:
    """Return how what is made of a run's folder, or of a file of weights, is called."""
    return Path(str(weights).rpartition(":")[2]).resolve().name.removesuffix(".safetensors")


def fingerprint_at_hand(source: str) -> str | None:
    """Return the fingerprint of weights that are a file on this machine; None for all others, and nothing is fetched."""
    path = user_path(file_of(source))
    return fingerprint_of_file(path) if file_kind(path) == "file" else None
