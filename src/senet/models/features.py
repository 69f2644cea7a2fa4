"""The maps of a network's levels, for detectors and segmenters."""

from torch import Tensor, nn

from senet.errors import UsageError
from senet.models.network import Network
from senet.unit_values import whole


class FeatureMaps(nn.Module):
    """Network that returns the maps of chosen levels, in the order of the indices.

    State-dict keys are the network's below `network.`, without its head.

    Args:
        model: the network to take apart.
        out_indices: which levels, counted from 0; None = all.

    Attributes:
        feature_info: channels and stride of each returned map.

    Raises:
        UsageError: for an index that is not a level's.
    """

    def __init__(self, model: Network, out_indices: tuple[int, ...] | None = None) -> None:
        super().__init__()
        count = len(model.feature_info)
        chosen = range(count) if out_indices is None else out_indices
        self.out_indices = tuple(index if (number := whole(index)) is None else number for index in chosen)
        if wrong := [index for index in self.out_indices if whole(index) not in range(count)]:
            raise UsageError(f"out_indices has {wrong[0]}, but the network has {count} maps: 0 to {count - 1}")
        self.feature_info = [model.feature_info[index] for index in self.out_indices]
        self.config = model.config
        self.network = model
        delattr(model, model.head.partition(".")[0])

    @property
    def headless(self) -> Network:
        """The network without its head, into which weights are loaded."""
        return self.network

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map images (N, in_channels, H, W) to one map (N, channels, H / stride, W / stride) for each index."""
        maps = self.network.maps(x)
        return [maps[index] for index in self.out_indices]
