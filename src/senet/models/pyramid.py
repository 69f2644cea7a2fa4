"""The maps of a network at every resolution, its stem's among them: what the decoders of segmenters join."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from senet.errors import UsageError
from senet.models.classifier import Classifier
from senet.models.vgg import VGG
from senet.ops.tail.layers import in_order


class Pyramid(nn.Module):
    """Network without its head that returns the last map of each resolution, finest first.

    Where a network strides without padding (Inception-ResNet-v2), its 3x3 convolutions and max-pools are padded by one pixel, so that every
    map shows the whole image; kernels stay as they are. The intermediate maps of pre-activation networks are their sums, not rectified.

    Args:
        network: the network; it loses its head, if it has one.
        coarsest: stride of the last map; None = the network's own. A VGG's last max-pool, which belongs to its head, gives stride 32.

    Attributes:
        feature_info: channels and stride (input pixels a cell) of each map.

    Raises:
        UsageError: if the network has no map of the stride `coarsest`.
    """

    def __init__(self, network: Classifier, coarsest: int | None = None) -> None:
        super().__init__()
        head = network.head.partition(".")[0]
        if hasattr(network, head):
            delattr(network, head)
        self.network = network
        self.config = network.config
        self.resolutions = Resolutions.of(network, coarsest)
        self.feature_info = list(self.resolutions.info)

    @property
    def headless(self) -> Classifier:
        """The network without its head, into which weights are loaded."""
        return self.network

    def reset_parameters(self) -> None:
        """Initialise the network as it does itself."""
        self.network.reset_parameters()

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map images (N, in_channels, H, W) to one map (N, channels, H / stride, W / stride) for each resolution."""
        return self.resolutions.maps(self.network, x)


@dataclass(frozen=True)
class Resolutions:
    """Places in a network where it has the last map of each resolution.

    Args:
        chosen: index of each map, counted from the stem's first, finest first.
        info: channels and stride (input pixels a cell) of each.
    """

    chosen: tuple[int, ...]
    info: tuple[Mapping[str, int], ...]

    @classmethod
    def of(cls, network: Classifier, coarsest: int | None = None) -> "Resolutions":
        """Find them, and pad the network's layers, see `Pyramid`.

        Raises:
            UsageError: if the network has no map of the stride `coarsest`.
        """
        pad_valid_layers(network)
        known = [*network.stem_info, *network.feature_info]
        if isinstance(network, VGG):
            known.append({"channels": known[-1]["channels"], "stride": 2 * known[-1]["stride"]})
        strides = [info["stride"] for info in known]
        wanted = network.feature_info[-1]["stride"] if coarsest is None else coarsest
        if wanted not in strides:
            raise UsageError(f"{network.config.name} has maps of the strides {', '.join(map(str, sorted({*strides})))}, none of {wanted}")
        chosen = [index for index, stride in enumerate(strides) if stride <= wanted and stride not in strides[index + 1 :]]
        return cls(tuple(chosen), tuple(known[index] for index in chosen))

    def maps(self, network: Classifier, x: Tensor) -> list[Tensor]:
        """Map images (N, in_channels, H, W) to one map (N, channels, H / stride, W / stride) for each resolution."""
        last = self.chosen[-1]
        maps = network.stem_maps(x)
        x = maps[-1]
        maps = maps[: len(network.stem_info)]
        for level in network.levels[: max(0, last + 1 - len(maps))]:
            x = in_order(level, x)
            maps.append(x)
        if isinstance(network, VGG) and last == len(maps):
            maps.append(network.features[-1](x))
        elif len(maps) == len(network.stem_info) + len(network.levels):
            maps[-1] = network.final(x)
        return [maps[index] for index in self.chosen]


def pad_valid_layers(network: nn.Module) -> None:
    """Pad convolutions and max-pools of 3x3 by one pixel, in place, where the network strides by convolutions without padding."""
    kernels = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3)]
    if not any(layer.padding == (0, 0) and layer.stride != (1, 1) for layer in kernels):
        return
    for layer in kernels:
        layer.padding = (1, 1)
    for pool in network.modules():
        if isinstance(pool, nn.MaxPool2d):
            pool.padding = 1
