"""Channels of a network that are interchangeable, and all places in its layers that go when one of them goes.

The layers here keep their channels apart or sum over them: without some they compute what they did with these at zero.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from senet.surgery.widths import widths_of

Side = Literal["inputs", "outputs"]
ANY_CONVOLUTION = nn.modules.conv._ConvNd
NORMALISATION = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)

HIDDEN_UNITS = "hidden units of a block"
"""Why those are left whole: `senet allocate` cuts them."""


class Axis(NamedTuple):
    """Channels on one side of a layer; those of depthwise convolutions, normalisations and PReLUs are their outputs."""

    path: str
    side: Side


@dataclass(frozen=True)
class Channels:
    """Interchangeable channels of a network: the unit whose width is chosen.

    Args:
        name: path of the first convolution or linear layer that gives them, of those outside of blocks if there is one.
        places: axis -> (count, k) the indices on this axis that go with each channel: k = 1 but for groups and flattened maps.
        original: how many there were before anything was cut.
        fixed: why they are left whole; "" where they can be cut.
    """

    name: str
    places: Mapping[Axis, Tensor] = field(repr=False)
    original: int
    fixed: str = ""

    @property
    def count(self) -> int:
        """How many there are."""
        return len(next(iter(self.places.values())))

    @property
    def width(self) -> int:
        """How many outputs of the layer that names them one of them is: as many as a grouped convolution has groups."""
        return self.places[Axis(self.name, "outputs")].shape[1]


def is_one_to_one(layer: nn.Module) -> bool:
    """Return whether a layer is a convolution that reads one channel for each that it gives."""
    return isinstance(layer, ANY_CONVOLUTION) and layer.groups == layer.in_channels == layer.out_channels > 1


def axis_sizes(model: nn.Module) -> dict[Axis, int]:
    """Return how many channels each side of the layers of a network has, in the order of its modules."""
    sizes: dict[Axis, int] = {}
    for path, layer in model.named_modules():
        mixes = isinstance(layer, (ANY_CONVOLUTION, nn.Linear))
        if mixes or isinstance(layer, NORMALISATION) or (isinstance(layer, nn.PReLU) and layer.num_parameters > 1):
            widths = widths_of(layer)
            sizes[Axis(path, "outputs")] = widths.outputs
            if mixes and not is_one_to_one(layer):
                sizes[Axis(path, "inputs")] = widths.inputs
    return sizes


class Couplings:
    """Classes of indices of a network's axes: those of one class go together.

    Args:
        sizes: axis -> its indices.
    """

    def __init__(self, sizes: Mapping[Axis, int]) -> None:
        self.sizes = sizes
        self.start: dict[Axis, int] = {}
        total = 0
        for axis, size in sizes.items():
            self.start[axis] = total
            total += size
        self._parent = list(range(total))
        self._fixed: dict[int, str] = {}

    def __contains__(self, axis: Axis) -> bool:
        """Return whether the network has such an axis."""
        return axis in self.sizes

    def join(self, axis: Axis, indices: Sequence[int], other: Axis, others: Sequence[int]) -> None:
        """Let the indices of one axis go with those of another, each with its own."""
        first, second = self.start[axis], self.start[other]
        for mine, theirs in zip(indices, others, strict=True):
            self._parent[self._root(second + theirs)] = self._root(first + mine)

    def join_groups(self, path: str, groups: int) -> None:
        """Let the channels at the same place of every group of a convolution go together, so that its groups stay equally wide."""
        for axis in (Axis(path, "outputs"), Axis(path, "inputs")):
            size = self.sizes[axis] // groups
            for group in range(1, groups):
                self.join(axis, range(size), axis, range(group * size, (group + 1) * size))

    def fix(self, axis: Axis, indices: Sequence[int], reason: str) -> None:
        """Leave what goes with some indices of an axis whole."""
        for index in indices:
            self._fixed.setdefault(self.start[axis] + index, reason)

    def channels(self, givers: Collection[str]) -> list[Channels]:
        """Return all that layers give and something reads, set by set, in the order of the network's modules.

        Args:
            givers: paths of the layers that sets are named after, where one gives them.
        """
        members: dict[int, dict[Axis, list[int]]] = defaultdict(dict)
        for axis, start in self.start.items():
            for index in range(self.sizes[axis]):
                members[self._root(start + index)].setdefault(axis, []).append(index)
        reasons: dict[int, str] = {}
        for element, reason in sorted(self._fixed.items()):
            reasons.setdefault(self._root(element), reason)
        alike: dict[tuple[tuple[Axis, int], ...], list[int]] = defaultdict(list)
        for root, places in members.items():
            alike[tuple((axis, len(indices)) for axis, indices in places.items())].append(root)
        found = []
        for shape, roots in alike.items():
            given = [axis.path for axis, _ in shape if axis.side == "outputs"]
            if not given or all(axis.side == "outputs" for axis, _ in shape):
                continue  # images, or outputs of the network
            places = {axis: torch.tensor([members[root][axis] for root in roots]) for axis, _ in shape}
            fixed = next((reasons[root] for root in roots if root in reasons), "")
            name = next((path for path in given if path in givers), given[0])
            found.append(Channels(name, places, len(roots), fixed))
        return found

    def _root(self, element: int) -> int:
        parent = self._parent
        while parent[element] != element:
            parent[element] = parent[parent[element]]
            element = parent[element]
        return element
