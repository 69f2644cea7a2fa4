"""A trained network of another library, folded on photographs."""

from pathlib import Path

import torch

import senet
from oracles.frozen import frozen
from oracles.optimized import distance
from senet.analysis.frozen import frozen_constants
from senet.analysis.gate_statistics import record_gates
from trained_mobilenet import photographs, trained_mobilenet


def test_blocks_of_a_trained_network_fold_exactly(shared_data: Path) -> None:
    """BN is in the convolutions already, and these pad in their own way; most blocks lie behind a hard swish."""
    model = trained_mobilenet(shared_data)
    images, classes = photographs(shared_data, 8, every=100)
    means = frozen_constants(record_gates(model, [(images, classes)]), [path for path, _ in model.named_modules()], "channel")
    gates = {path: torch.as_tensor(gate) for path, gate in means.items() if gate is not None}
    found = senet.fold_constant(model, gates)
    with torch.no_grad(), frozen(model, gates):
        assert distance(found(images), model(images)) < 1e-5
    assert len(gates) == 9
    kinds = {type(module).__name__ for module in found.modules()}
    assert not kinds & {"SqueezeExcitation", "ChannelScale"}
