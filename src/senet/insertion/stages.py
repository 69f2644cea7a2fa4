"""Numbers of stages: a network's own, or counted by strides as the papers do."""

import math
from collections.abc import Mapping, Sequence

from senet.insertion.request import Request


def stage_numbers(request: Request, values: Sequence[tuple[str, tuple[int, ...], str]]) -> list[int]:
    """Return the stage of each value.

    A network that numbers its stages has the say. In others a stage is log2 of the stride, so that stride 4 is stage 2; where some value
    has the image's size, stages count from 1, as the papers do for VGG and CIFAR networks; a decoder alone shifts nothing.

    Args:
        request: the network, and a run of it.
        values: path of the module that holds the value, its shape, kind of the unit.
    """
    stages = [_stage(request, path, shape) for path, shape, _ in values]
    shift = 1 if 0 in [stage for stage, (*_, kind) in zip(stages, values, strict=True) if kind != "decoder"] else 0
    return [stage + shift for stage in stages]


def _stage(request: Request, path: str, shape: tuple[int, ...]) -> int:
    stages = getattr(request.model, "stages", None)
    if isinstance(stages, Mapping):
        for number, stage in stages.items():
            if any(path == prefix or path.startswith(f"{prefix}.") for prefix in request.paths.get(stage, ())):
                return int(number)
    return max(0, round(math.log2(request.seen.image / shape[-1]))) if request.seen.image and shape else 0
