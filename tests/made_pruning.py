"""Pruning in tests: in few steps, with a latency that is the same on every machine; and a trained network to prune."""

from pathlib import Path

import pytest
import torch

from made_runs import tiny
from senet.compression.pruning import prune as pruning, target
from senet.measuring.timing import Ratio
from senet.training.loop import train


def prune_quickly(monkeypatch: pytest.MonkeyPatch, latency: float) -> None:
    """Look for ratios coarsely, and find every pruned network to take this share of the time."""
    monkeypatch.setattr(target, "FINEST", 1 / 16)
    monkeypatch.setattr(pruning, "latency_ratio", lambda *_, **__: Ratio(latency, latency, latency, latency))


def trained_tiny(folder: Path) -> Path:
    """Train an SE network for an epoch, and return the folder of the run."""
    torch.set_num_threads(1)
    train(tiny(training__epochs=1), folder=folder, progress=False)
    return folder
