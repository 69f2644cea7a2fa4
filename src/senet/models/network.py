"""What every network of the zoo is: numbered stages and a head, made by name and options."""

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from torch import Tensor, nn

from senet.errors import UsageError
from senet.spec import BlockSpec, check_positive
from senet.weights.metadata import WeightsMetadata


@dataclass(frozen=True)
class ModelConfig:
    """Name of a network and every option, resolved: how it was made.

    `name` carries the block's prefix, whichever way the block was asked for: "se_resnet50". Options are those of `create_model`.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def omitted(self) -> tuple[tuple[int, int], ...]:
        """The units that have no block though the other options give them one: (stage, index in it from 1)."""
        return tuple((int(stage), int(index)) for stage, index in self.options.get("omitted", ()))

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON.

        Raises:
            UsageError: if the block is a rule (a callable), which cannot be written down.
        """
        options = dict(self.options)
        block = options.get("block")
        if callable(block):
            raise UsageError(f"{self.name}: a block that is a function cannot be saved; use a BlockSpec with per-stage values")
        options["block"] = block.to_dict() if isinstance(block, BlockSpec) else None
        return {"name": self.name, "options": options}


CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)


class Network(nn.Module):
    """Network of numbered stages with a head of one layer without hidden units.

    Sub-classes say what its features are and what its head makes of them.

    Attributes:
        config: name and resolved options, set by `create_model`.
        option_defaults: what the family's own options are where nothing is said.
        stage_names: stage in the paper's numbering -> name of the sub-module.
        feature_info: channels and stride (input pixels a cell) of the map that each level gives.
        input_size: (channels, height, width) of the images it was made for; (channels, depth, height, width) of volumes.
        head: path of the last layer, which gives the logits.
        conv_init: which fan convolutions are initialised by.
    """

    config: ModelConfig
    option_defaults: Mapping[str, Any] = {}
    stage_names: Mapping[int, str] = {}
    feature_info: Sequence[Mapping[str, int]]
    input_size: tuple[int, ...]
    head: str
    conv_init: Literal["fan_in", "fan_out"] = "fan_out"

    @property
    def stages(self) -> dict[int, nn.Module]:
        """The stages, by number."""
        return {number: self.get_submodule(name) for number, name in self.stage_names.items()}

    @abstractmethod
    def maps(self, x: Tensor) -> list[Tensor]:
        """Return the map of every level, those of `feature_info`, for images (N, in_channels, H, W)."""

    @abstractmethod
    def forward_features(self, x: Tensor) -> Tensor:
        """Map images (N, in_channels, H, W) to the last map (N, C, h, w)."""

    @abstractmethod
    def forward_head(self, x: Tensor) -> Tensor:
        """Map the last map (N, C, h, w) to logits."""

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, in_channels, H, W) to logits."""
        return self.forward_head(self.forward_features(x))

    @staticmethod
    @abstractmethod
    def head_layer(like: Tensor, num_classes: int) -> nn.Module:
        """Return a new last layer with as many inputs as the weight `like`, of its type and on its device."""

    def outline(self, name: str, options: Mapping[str, Any]) -> "Network":
        """Return another network of the registry, without numbers: what `senet.load_weights` holds a file against."""
        from senet.models.released import outline  # the registry imports the families, and these this file

        return outline(name, options)

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the last layer of the head by a new one for `num_classes` classes, on its device and of its type."""
        num_classes = check_positive("num_classes", num_classes)
        self.replace_head(num_classes)
        self.config = ModelConfig(self.config.name, dict(self.config.options) | {"num_classes": num_classes})
        loaded = getattr(self, "weights_metadata", None)
        if isinstance(loaded, WeightsMetadata):  # the names were those of the old head's classes
            self.weights_metadata = replace(loaded, classes=None)  # pyright: ignore[reportAttributeAccessIssue] - modules take any attribute

    def replace_head(self, num_classes: int) -> None:
        """Put a new last layer for `num_classes` classes where the old one is."""
        old = self.get_submodule(self.head).get_parameter("weight")
        self.set_submodule(self.head, self.head_layer(old, num_classes))

    def reset_parameters(self) -> None:
        """Initialise every layer: convolutions as He et al. (1502.01852), biases of them 0, all other layers as they do themselves."""
        _reset(self, self.conv_init)


def _reset(parent: nn.Module, conv_init: Literal["fan_in", "fan_out"]) -> None:
    for module in parent.children():
        if isinstance(module, CONVOLUTIONS):
            if module.transposed:  # whose kernel has a row for every input: torch takes the outputs for its fan-in
                taps = math.prod(module.kernel_size) / math.prod(module.stride)
                nn.init.normal_(module.weight, std=(2 / (taps * module.in_channels / module.groups)) ** 0.5)
            else:
                nn.init.kaiming_normal_(module.weight, mode=conv_init, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif callable(reset := getattr(module, "reset_parameters", None)):
            reset()
        elif any(tensor is not None for tensor in (*module._parameters.values(), *module._buffers.values())):
            name = type(module).__name__
            raise UsageError(f"{name} has tensors of its own and no reset_parameters(), with which networks initialise them")
        else:
            _reset(module, conv_init)
