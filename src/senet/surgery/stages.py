"""Stages that a network numbers itself."""

from collections.abc import Mapping

from torch import nn


def numbered_stages(model: nn.Module) -> dict[int, nn.Module]:
    """Return the stages of a network by number, as its attribute `stages` says, and those of networks in it whose numbers are free.

    A U-Net with a network as its encoder numbers its decoder blocks on from the encoder's stages, which that network numbers. Networks
    without numbers give nothing.
    """
    found: dict[int, nn.Module] = {}
    for module in model.modules():
        stages = getattr(module, "stages", None)
        if isinstance(stages, Mapping):
            own = {number: stage for number, stage in stages.items() if isinstance(number, int) and isinstance(stage, nn.Module)}
            found |= {number: stage for number, stage in own.items() if number not in found}
    return found
