"""What all engines of a run are given: a network and its plain twin, and a batch of noise."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from senet.benchmarking.settings import BATCH, Settings, shape_text
from senet.errors import UsageError
from senet.measuring.steps import FLOATS
from senet.models.create import create_model, model_from_config
from senet.models.foreign import is_foreign
from senet.models.registry import PLAIN, split_name
from senet.spec import BlockSpec, check_positive

PLAIN_FORM = "plain"
"""The form of a network that has no block; other forms have the name of their kind of block."""


@dataclass(frozen=True)
class Workload:
    """Networks and images that are measured.

    Args:
        networks: form -> network: "plain", and the kind of block. On the device and in channels_last; converted to the type in inference.
        images: a batch (N, C, H, W) of noise, likewise.
        labels: classes of the images.
        settings: how it is measured.
        folder: where engines may write files.
    """

    networks: Mapping[str, nn.Module]
    images: Tensor
    labels: Tensor
    settings: Settings
    folder: Path

    @property
    def forms(self) -> tuple[str, ...]:
        """The plain form, and the recalibrated one."""
        return tuple(self.networks)

    @property
    def config(self) -> Any:
        """How the plain network was made."""
        return self.networks[PLAIN_FORM].config

    @property
    def about(self) -> str:
        """What is measured, in words."""
        return f"{self.config.name}, {shape_text(self.images.shape)}, {self.settings.dtype}: {self.settings.mode}"


def workload(
    name: str,
    settings: Settings,
    folder: Path,
    *,
    batch: int | None = None,
    size: int | None = None,
    block: str | BlockSpec | None = "auto",
    **options: Any,
) -> Workload:
    """Build a network, its plain twin and a batch.

    Args:
        name: a network of the zoo, plain or recalibrated, or one of another library.
        settings: how it is measured.
        folder: where engines may write files.
        batch: images in the batch; None = `BATCH`.
        size: side of the images in pixels; None = the network's own.
        block: what recalibrates it; "auto" = what the name says, else SE.
        options: further options of `create_model`.

    Raises:
        UsageError: as `create_model` does, or if there is no block to compare.
    """
    if block is None:
        raise UsageError(f"the plain {name} is compared with its recalibrated twin: name a block, such as --block se")
    model = create_model(name, block=_block(name) if block == "auto" else block, **options)
    config: Any = model.config
    plain = model_from_config(config.to_dict(), plain=True)
    kind = config.to_dict()["options"]["block"]["kind"]
    for what, number in (("batch", batch), ("size", size)):
        if number is not None:
            check_positive(what, number)
    own: Any = model.input_size
    shape = (batch or BATCH[settings.mode], own[0], size or own[1], size or own[2])
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return Workload(
        networks={form: prepared(network, settings) for form, network in ((PLAIN_FORM, plain), (kind, model))},
        images=placed(images, settings),
        labels=torch.zeros(shape[0], dtype=torch.long, device=settings.device),  # a class that every network has
        settings=settings,
        folder=folder,
    )


def prepared(model: nn.Module, settings: Settings) -> nn.Module:
    """Put a network on the device, in its mode, type and memory format, and return it."""
    return placed(model, settings).train(settings.mode == "training")


def placed(thing: Any, settings: Settings) -> Any:
    """Put a network or images on the device; in inference in the type, too."""
    dtype = FLOATS[settings.dtype] if settings.mode == "inference" else torch.float32
    return thing.to(settings.device, dtype).to(memory_format=torch.channels_last)


def _block(name: str) -> str:
    """Return what recalibrates a network whose block nobody names."""
    if is_foreign(name):
        return "se"
    kind, plain = split_name(name)
    return "auto" if kind or PLAIN[plain].block else "se"
