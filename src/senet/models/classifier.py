"""Networks from images to classes: a stem, numbered stages, a linear head."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from senet.models.network import Network
from senet.ops.tail.layers import in_order


class Classifier(Network):
    """Network from images to logits: a stem, stages and a linear head.

    Sub-classes build `stem()`, the head and the stages named by `stage_names`, and may finish the features by `final`.

    Args:
        dropout: share of the pooled features that training drops before the head.

    Attributes:
        stem_info: channels and stride of the maps of `stem_maps` that no level has the stride of: all of them, or all but the last.
    """

    stem_info: Sequence[Mapping[str, int]] = ()
    fc: nn.Linear
    head = "fc"

    def __init__(self, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout

    @property
    def levels(self) -> list[Sequence[nn.Module]]:
        """The modules between two maps that detectors and segmenters use; elsewhere than in Inceptions and VGGs these are the stages."""
        return [[stage] for stage in self.stages.values()]

    @abstractmethod
    def stem(self, x: Tensor) -> Tensor:
        """Map images (N, in_channels, H, W) to the input of the first stage."""

    def stem_maps(self, x: Tensor) -> list[Tensor]:
        """Map images (N, in_channels, H, W) to the last map of each resolution in the stem; the last is the input of the first stage."""
        return [self.stem(x)]

    def final(self, x: Tensor) -> Tensor:
        """Finish the last stage's map; post-activation networks have nothing to do."""
        return x

    def maps(self, x: Tensor) -> list[Tensor]:
        """Return the map of every level for images (N, in_channels, H, W); the last one is finished."""
        x, found = self.stem(x), []
        for level in self.levels:
            x = in_order(level, x)
            found.append(x)
        return [*found[:-1], self.final(x)]

    def forward_features(self, x: Tensor) -> Tensor:
        """Map images (N, in_channels, H, W) to the last map (N, C, h, w)."""
        x = self.stem(x)
        for level in self.levels:
            x = in_order(level, x)
        return self.final(x)

    def forward_head(self, x: Tensor) -> Tensor:
        """Map the last map (N, C, h, w) to logits (N, num_classes)."""
        return self.fc(F.dropout(x.mean((2, 3)), self.dropout, self.training))

    @staticmethod
    def head_layer(like: Tensor, num_classes: int) -> nn.Linear:
        """Return a new linear layer with as many inputs as the weight `like`, of its type and on its device."""
        return nn.Linear(like.shape[1], num_classes, device=like.device, dtype=like.dtype)
