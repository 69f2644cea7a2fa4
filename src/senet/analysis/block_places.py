"""Names of the blocks of a network, by the numbers of its stages, and which of them ends a stage."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from senet.blocks.kinds import is_block
from senet.surgery.stages import numbered_stages


@dataclass(frozen=True)
class BlockPlace:
    """Place of a block in its network.

    Args:
        path: the block's path, such as "layer2.3.se".
        name: the paper's name SE_<stage>_<unit> where the network numbers its stages, else the path; a second block in a unit has a third
            number, SE_<stage>_<unit>_2.
        stage: the network's number of the stage; without one, a count that grows whenever the channels change.
        ends_stage: whether this is the last block of its stage, which the paper's Figure 6 shows.
    """

    path: str
    name: str
    stage: int
    ends_stage: bool


def block_places(model: nn.Module, paths: Mapping[nn.Module, str], widths: Sequence[int]) -> list[BlockPlace]:
    """Return the place of each block.

    Args:
        model: the network.
        paths: blocks -> their paths, in the order of execution.
        widths: their channels.
    """
    numbers = _numbers(model, paths)
    seen = Counter[tuple[int, int]]()
    found, count, channels = [], 0, 0
    for (block, path), width in zip(paths.items(), widths, strict=True):
        count += width != channels
        channels = width
        if (number := numbers.get(block)) is None:
            found.append((path, path, count))
            continue
        seen[number] += 1
        again = f"_{seen[number]}" if seen[number] > 1 else ""
        found.append((path, f"SE_{number[0]}_{number[1]}{again}", number[0]))
    following = [stage for *_, stage in found[1:]]
    return [BlockPlace(*one, ends_stage=one[2] != after) for one, after in zip(found, [*following, None][: len(found)], strict=True)]


def _numbers(model: nn.Module, blocks: Mapping[nn.Module, str]) -> dict[nn.Module, tuple[int, int]]:
    """Return stage and unit, from 1, of each block in a numbered stage; a stage with a block of its own is one unit."""
    found: dict[nn.Module, tuple[int, int]] = {}
    for number, stage in numbered_stages(model).items():
        units = [child for child in stage.children() if not is_block(child)]
        within = [(1, child) for child in stage.children() if is_block(child)] + list(enumerate(units, start=1))
        found |= {block: (number, index) for index, unit in within for block in unit.modules() if block in blocks}
    return found
