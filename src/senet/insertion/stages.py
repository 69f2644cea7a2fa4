"""Numbers of stages: a network's own, or counted by strides as the papers do."""

import math
from collections.abc import Sequence

from senet.insertion.request import Request
from senet.surgery.stages import numbered_stages


def stage_numbers(request: Request, values: Sequence[tuple[str, float, str]]) -> list[int]:
    """Return the stage of each value.

    A network that numbers its stages has the say. In others a stage is log2 of the stride, so that stride 4 is stage 2; where some value
    has the image's size, stages count from 1, as the papers do for VGG and CIFAR networks; a decoder alone shifts nothing. Decoder blocks
    are numbered on along the way, as in this package's U-Nets: with maps down to the stride 2**n, they are the stages n + 2 to 2 n + 1.

    Args:
        request: the network, and a run of it.
        values: path of the module that holds the value, its stride, kind of the unit.
    """
    prefixes = {path: number for number, stage in numbered_stages(request.model).items() for path in request.paths.get(stage, ())}
    own = [next((number for prefix, number in prefixes.items() if _holds(prefix, path)), None) for path, *_ in values]
    levels = [max(0, round(math.log2(stride))) for _, stride, _ in values]
    down = [level for level, number, (*_, kind) in zip(levels, own, values, strict=True) if number is None and kind != "decoder"]
    up = [level for level, number, (*_, kind) in zip(levels, own, values, strict=True) if number is None and kind == "decoder"]
    shift = int(0 in down)
    deepest = max([*down, *(level + 1 for level in up)], default=0)
    counted = [2 * deepest + 1 - level if kind == "decoder" else level + shift for level, (*_, kind) in zip(levels, values, strict=True)]
    return [number if number is not None else stage for stage, number in zip(counted, own, strict=True)]


def stride_of(request: Request, shape: tuple[int, ...], axis: int | None) -> float:
    """Return how many pixels of the image lie between two positions of a map; tokens in a row stand for an area."""
    image = request.seen.image
    sides = [side for index, side in enumerate(shape) if index not in (0, axis or 1)]
    if not image or not sides or 0 in sides:
        return 1.0
    if axis in (None, 1) and len(sides) >= len(image):
        return image[-1] / sides[-1]
    return (math.prod(image) / math.prod(sides)) ** (1 / len(image))


def _holds(prefix: str, path: str) -> bool:
    return path == prefix or path.startswith(f"{prefix}.")
