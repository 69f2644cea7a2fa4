"""Networks to be optimised, images for them, and how far two outputs are apart."""

from typing import Any

import torch
from torch import Tensor, nn

import senet
from oracles.weights import blank, draw
from senet.deploy.report import FusionReport

SIDES = {"vgg": 33, "inception_resnet": 80, "cifar": 15, "preres": 15, "wrn": 15, "shake": 15}

OPTIONS = {"inception_resnet_v2": {"counts": (1, 1, 2)}}


def network(name: str, **options: object) -> nn.Module:
    chosen: Any = OPTIONS.get(name.removeprefix("se_"), {}) | options
    return (
        draw(blank(senet.create_model(name, device="meta", **chosen)), last=r"bn3$|bn2$|up$", projection="downsample")
        .eval()
        .requires_grad_(False)
    )


def images(name: str, batch: int = 2, dtype: torch.dtype = torch.float32) -> Tensor:
    side = next((side for part, side in SIDES.items() if part in name), 65)
    sides = (side, side + 2) if "3d" not in name else (16, 17, 19)
    return torch.randn(batch, 3, *sides, generator=torch.Generator().manual_seed(batch), dtype=dtype)


def distance(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).norm() / expected.norm()).item()


def report_of(model: nn.Module) -> FusionReport:
    report = getattr(model, "report", None)
    assert isinstance(report, FusionReport)
    return report
