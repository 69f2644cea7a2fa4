"""Files of weights choose a network for segmentation with its plain options, and nothing that is not in the file."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import senet
from senet.errors import UsageError
from senet.models.create import config_of
from within import within

NETWORKS: dict[str, dict[str, Any]] = {
    "se_unet": {"norm": "instance", "kernel": 3, "convs": 1},
    "unet": {"norm": None, "upsample": "transposed", "kernel": 1},
    "scse_sd_net": {"activation": "relu", "kernel": 3},
    "sse_fc_densenet": {"dropout": 0.25, "kernel": 3},
    "scse_unet3d": {"norm": "batch"},
}

WRONG = [
    ("unet", {"width": 0}),
    ("unet", {"width": 2048}),
    ("unet", {"width": 10**12}),
    ("unet", {"depth": 2048}),
    ("unet", {"convs": 2048}),
    ("unet", {"kernel": 2047}),
    ("unet", {"kernel": 2}),
    ("unet", {"norm": 1}),
    ("unet", {"norm": "layer"}),
    ("unet", {"upsample": None}),
    ("unet", {"encoder4": "x"}),
    ("scse_unet3d", {"kernel": 2047, "width": 2048}),
    ("scse_sd_net", {"activation": "os.system"}),
    ("sse_fc_densenet", {"dropout": 1}),
]


def saved(name: str, path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Write a small network; return what the file says of it, and its tensors."""
    model = senet.create_model(name, num_classes=2, in_channels=1, width=4, depth=1, **NETWORKS[name])
    senet.save_weights(model, path)
    return json.loads(json.dumps(config_of(model).to_dict())), load_file(path)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_option_comes_back(name: str, tmp_path: Path) -> None:
    config, _ = saved(name, tmp_path / "w.safetensors")
    again = config_of(senet.from_pretrained(tmp_path / "w.safetensors"))
    assert again.to_dict() == config
    assert again.options.items() >= NETWORKS[name].items()


@pytest.mark.parametrize(("name", "options"), WRONG)
def test_another_value_is_refused_in_one_line_and_at_once(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    config, tensors = saved(name, tmp_path / "w.safetensors")
    save_file(tensors, tmp_path / "w.safetensors", {"model": json.dumps(config | {"options": config["options"] | options})})
    with within(10), pytest.raises(UsageError) as raised:
        senet.from_pretrained(tmp_path / "w.safetensors")
    assert "\n" not in str(raised.value)
