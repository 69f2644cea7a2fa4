"""Hidden units of blocks, against slow loops."""

from typing import Any

import numpy as np
import pytest
import torch

import senet
from oracles.masked_units import images, trained
from senet.compression.hidden_units import bottlenecks, measure_hidden_units
from senet.errors import UsageError


def slow(model: Any, path: str, x: torch.Tensor, fc1: str = "fc1", fc2: str = "fc2", part: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return firing and importance of a block's units, from the inputs that its first layer is seen to get, unit by unit."""
    block = model.get_submodule(path)
    first, last = getattr(block, fc1), getattr(block, fc2)
    seen: list[np.ndarray] = []
    handle = first.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach().numpy().reshape(-1, first.in_features)))
    with torch.no_grad():
        model(x)
    handle.remove()
    z = np.concatenate(seen)
    w1, b1, w2 = first.weight.detach().numpy(), first.bias, last.weight.detach().numpy()
    bias = np.zeros(len(w1)) if b1 is None else b1.detach().numpy()
    firing, importance = [], []
    for unit in range(len(w1)):
        fired = sum(1 for row in z if float(row @ w1[unit]) + bias[unit] > 0) / len(z)
        read = np.sqrt(sum(weight**2 for weight in w1[unit]) + bias[unit] ** 2)
        column = w2[:, part * len(w1) + unit]
        firing.append(fired)
        importance.append(fired * read * np.sqrt(sum(weight**2 for weight in column)))
    return np.array(firing), np.array(importance)


@pytest.mark.parametrize("name", ["preactivated", "by stage, without bias", "no squeeze", "inserted"])
def test_firing_and_importance(name: str) -> None:
    model, x = trained(name), images(5)
    measured = measure_hidden_units(model, [(x[:2], torch.zeros(2)), (x[2:],), (x[:0],)])
    assert len(measured) == 9
    for units in (measured[0], measured[4], measured[8]):
        firing, importance = slow(model, units.place.path, x)
        assert np.allclose(units.firing[0].numpy(), firing, rtol=1e-12, atol=0)
        assert np.allclose(units.importance[0].numpy(), importance, rtol=1e-12, atol=0)
        assert 0 < units.firing.mean() < 1
        assert units.strongest(2) == (tuple(sorted(sorted(range(units.width), key=lambda unit: -importance[unit])[:2])),)


def test_both_halves_of_cmpe_se_and_the_channel_form_of_scse() -> None:
    model, x = trained("cmpe_se"), images()
    units = measure_hidden_units(model, [(x,)])[2]
    assert units.firing.shape == (2, 4)
    for part, name in enumerate(("fc_residual", "fc_identity")):
        assert np.allclose(units.importance[part].numpy(), slow(model, units.place.path, x, name, "fc_out", part)[1], rtol=1e-12)
    scse = trained("scse")
    units = measure_hidden_units(scse, [(x,)])[2]
    assert units.place.path == "layer1.2.se"
    assert np.allclose(units.importance[0].numpy(), slow(scse, "layer1.2.se.cse", x)[1], rtol=1e-12)


def test_costs_are_parameters() -> None:
    for name in ("preactivated", "by stage, without bias", "cmpe_se", "cmpe_se image", "scse"):
        model = trained(name)
        for units in measure_hidden_units(model, [(images(1),)]):
            block = model.get_submodule(units.place.path)
            assert units.costs[1] + units.width * units.costs[0] == sum(parameter.numel() for parameter in block.parameters())


def test_modes_are_left_alone_and_repeats_are_equal() -> None:
    model, x = trained("preactivated").train(), images()
    first, again = measure_hidden_units(model, [(x,)]), measure_hidden_units(model, [(x[:1],), (x[1:],)])
    assert all(module.training for module in model.modules())
    assert all(torch.equal(one.importance, other.importance) for one, other in zip(first, again, strict=True))


def test_what_has_no_hidden_units_is_refused() -> None:
    assert bottlenecks(senet.create_model("sse_preresnet20")) == []
    for model in (senet.create_model("preresnet20"), senet.create_model("sse_preresnet20")):
        with pytest.raises(UsageError, match="has no block with hidden units"):
            measure_hidden_units(model, [(images().float(),)])
    with pytest.raises(UsageError, match="no hidden unit was seen at work"):
        measure_hidden_units(trained("preactivated"), [])
