"""Inference forms against each other: plain and SE, as written and optimised, and timm's network."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from senet import create_model, optimize

OPTIONS = {"v1_5": True, "stem_pool": "pad"}
"""What makes our ResNets timm's: same shapes, same operations."""


@contextmanager
def inference_forms(batch: int, dtype: torch.dtype) -> Iterator[Mapping[str, Callable[[], object]]]:
    """Give forward passes of ResNet-50 at 224 px in channels_last: plain and SE, optimised and eager, and timm's eager seresnet50."""
    import timm

    images = torch.randn(batch, 3, 224, 224, dtype=dtype).to(memory_format=torch.channels_last)
    plain, recalibrated = (ready(create_model(name, **OPTIONS), dtype) for name in ("resnet50", "se_resnet50"))
    networks = {
        "plain optimised": optimize(plain),
        "SE optimised": optimize(recalibrated),
        "plain eager": plain,
        "SE eager": recalibrated,
        "timm SE eager": ready(timm.create_model("seresnet50"), dtype),
    }
    yield {name: partial(infer, network, images) for name, network in networks.items()}


def ready(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    return model.to(dtype).to(memory_format=torch.channels_last).eval()  # pyright: ignore[reportCallIssue]


def infer(model: nn.Module, images: Tensor) -> None:
    with torch.inference_mode():
        model(images)
