"""SE against blocks that were really trained."""

import json
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import Tensor

from senet import ChannelSE
from senet.errors import UsageError


class Trained(NamedTuple):
    """Weights and biases of both layers, what was squeezed or its mean, and the gate that the network gave."""

    path: str
    weights: dict[str, np.ndarray]
    x: np.ndarray
    gate: np.ndarray


def trained_blocks(folder: Path) -> list[Trained]:
    """Return the blocks whose weights are stored: 26 beside their goldens, 9 in the MobileNetV3 file. MiniFASNet's three are not."""
    goldens = np.load(folder / "se_block_goldens.npz")
    facts = json.loads((folder / "se_block_goldens.json").read_text())
    mobilenet = load_file(folder / "mobilenetv3_small_imagenet_f16.safetensors")
    blocks = []
    for path in sorted({key.rpartition("/")[0] for key in goldens if key.endswith("/gate")}):
        network, _, name = path.partition("/")
        if f"{path}/fc1_w" in goldens:
            names = {"fc1.weight": "fc1_w", "fc1.bias": "fc1_b", "fc2.weight": "fc2_w", "fc2.bias": "fc2_b"}
            weights = {key: goldens[f"{path}/{stored}"].astype(np.float64) for key, stored in names.items()}
            slope = float(re.search(r"alpha=([\d.]+)", facts[network]["se_blocks"][int(name)]["gate"]).group(1))
            for key in ("fc2.weight", "fc2.bias"):  # max(0, min(1, slope z + 1/2)): ours has the slope 1/6
                weights[key] *= 6 * slope
        elif network == "mobilenetv3_small":
            weights = {key: mobilenet[f"{name}.{key}"].astype(np.float64) for key in ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias")}
        else:
            continue
        x = goldens[f"{path}/x" if f"{path}/x" in goldens else f"{path}/pooled"]
        blocks.append(Trained(path, weights, x, goldens[f"{path}/gate"]))
    return blocks


def test_trained_blocks_give_the_gates_of_their_networks(shared_data: Path) -> None:
    blocks = trained_blocks(shared_data / "se_weights")
    assert len(blocks) == 35
    for trained in blocks:
        weights = {key: torch.from_numpy(value.squeeze()) for key, value in trained.weights.items()}
        hidden, channels = weights["fc1.weight"].shape
        block = ChannelSE(channels, hidden=hidden, gate="hard_sigmoid").double()
        block.load_state_dict(weights)
        error = (block.gate(torch.from_numpy(trained.x).double()) - torch.from_numpy(trained.gate)).abs().max().item()
        assert error < 2e-6, trained.path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"channels": 0}, "channels must be an integer of at least 1, got 0"),
        ({"channels": 8, "reduction": 0}, "reduction must be"),
        ({"channels": 8, "hidden": 0}, "hidden must be"),
        ({"channels": 8, "squeeze": "mean"}, "allowed: avg, max, none"),
        ({"channels": 8, "gate": "sigmod"}, "did you mean 'sigmoid'"),
    ],
)
def test_impossible_options_say_what_is_allowed(arguments: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        ChannelSE(**arguments)


@pytest.mark.parametrize(("channels", "reduction", "hidden"), [(64, 16, 4), (320, 16, 20), (1056, 16, 66), (3, 16, 1), (7, 2, 3)])
def test_the_bottleneck_is_never_rounded(channels: int, reduction: int, hidden: int) -> None:
    assert ChannelSE(channels, reduction).hidden == hidden


def test_gates_of_drawn_blocks_lie_around_one_half() -> None:
    torch.manual_seed(0)
    gates: Tensor = ChannelSE(256).gate(torch.randn(64, 256, 4, 4))
    assert gates.mean().item() == pytest.approx(0.5, abs=0.02)
    assert 0.02 < gates.std().item() < 0.3
