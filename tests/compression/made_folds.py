"""Folded networks beside the same networks with frozen gates, whose own state must stay as it is."""

import torch

from oracles.frozen import drawn_gates, frozen
from oracles.optimized import distance
from senet.compression.folding import fold_gates


def folded_and_frozen(model, x, low=0.1, high=0.9):
    """Return the folds, and how far the folded network's outputs are from the frozen one's."""
    gates = drawn_gates(model, low, high)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = fold_gates(model, gates)
    with torch.no_grad(), frozen(model, gates):
        error = distance(found.model(x), model(x))
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    return found, error
