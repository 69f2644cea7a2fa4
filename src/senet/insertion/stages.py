"""Numbers of stages: a network's own, or counted by strides as the papers do."""

import math
from collections.abc import Mapping, Sequence

from senet.insertion.request import Request


def stage_numbers(request: Request, values: Sequence[tuple[str, float, str]]) -> list[int]:
    """Return the stage of each value.

    A network that numbers its stages has the say. In others a stage is log2 of the stride, so that stride 4 is stage 2; where some value
    has the image's size, stages count from 1, as the papers do for VGG and CIFAR networks; a decoder alone shifts nothing.

    Args:
        request: the network, and a run of it.
        values: path of the module that holds the value, its stride, kind of the unit.
    """
    stages = [_stage(request, path, stride) for path, stride, _ in values]
    shift = 1 if 0 in [stage for stage, (*_, kind) in zip(stages, values, strict=True) if kind != "decoder"] else 0
    return [stage + shift for stage in stages]


def stride_of(request: Request, shape: tuple[int, ...], axis: int | None) -> float:
    """Return how many pixels of the image lie between two positions of a map; tokens in a row stand for an area."""
    image = request.seen.image
    sides = [side for index, side in enumerate(shape) if index not in (0, axis or 1)]
    if not image or not sides or 0 in sides:
        return 1.0
    if axis in (None, 1) and len(sides) >= len(image):
        return image[-1] / sides[-1]
    return (math.prod(image) / math.prod(sides)) ** (1 / len(image))


def _stage(request: Request, path: str, stride: float) -> int:
    stages = getattr(request.model, "stages", None)
    if isinstance(stages, Mapping):
        for number, stage in stages.items():
            if any(path == prefix or path.startswith(f"{prefix}.") for prefix in request.paths.get(stage, ())):
                return int(number)
    return max(0, round(math.log2(stride)))
