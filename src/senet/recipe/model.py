"""What a recipe says of a network: which, what recalibrates it, and the weights that it begins from."""

from dataclasses import dataclass, field
from typing import Any, Literal

from senet.errors import UsageError
from senet.recipe.compress import AS_IT_IS, Compression, parse_compress
from senet.schema import brief
from senet.spec import BlockSpec, Placement, Recalibration
from senet.unit_values import by_place

WEIGHTS_OPTIONS = ("weights", "encoder_weights", "backbone_weights", "pretrained")
"""Options of a network that name trained weights for it or for a part of it."""


@dataclass(frozen=True)
class ModelRecipe:
    """A network, and what recalibrates it.

    Args:
        name: a registry name (`senet models`).
        block: "auto" (what the name says), null for the plain network, a kind of block or path/to/file.py:Class, or a BlockSpec.
        placement: where the block sits in its residual unit.
        stages: the stages that get a block, in the paper's numbering; null = all.
        reduction: reduction ratio, one number or one per stage or unit, such as {3: 8, 3_4: 16}; null = the kind's default.
        options: further options of the network (v1_5, stem_pool, zero_init_residual, ...).
        weights: trained weights that training begins from: a file, a run's folder, or what a library released (timm/NAME,
            torchvision/NAME); a head for other classes is drawn anew. null = all is drawn.
        init: how blocks begin that the weights do not hold: they are inserted into the plain network, and "identity" leaves its outputs as
            they are, "paper" draws them as for training from scratch; null = blocks are the network's own, and in its weights.
        compress: how the network that begins from `weights` is made smaller before it trains: "fold" (constant gates become scales of the
            layers around them, for 0.1 points; fold0.5: for 0.5), or a ranking of channels and the share of the MACs, params, memory or
            latency that is left: gate0.7, l1_0.7, taylor0.5@latency; "none" = as it is.
    """

    name: str = "preresnet20"
    block: str | BlockSpec | None = "auto"
    placement: Placement = "standard"
    stages: tuple[int, ...] | None = None
    reduction: int | dict[int | str, int] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    weights: str | None = None
    init: Literal["identity", "paper"] | None = None
    compress: str = AS_IT_IS

    def __post_init__(self) -> None:
        parse_compress(self.compress)
        object.__setattr__(self, "reduction", by_place("model.reduction", self.reduction))
        for name in self.options:
            if not name.isidentifier():
                raise UsageError(f"model.options holds arguments of a network, and {brief(name)} is no name of an argument")
        for name in ("weights", "init"):
            if getattr(self, name) is not None and name in self.options:
                raise UsageError(f"model.{name} is given twice: leave out model.options.{name}")

    @property
    def trained(self) -> str | None:
        """What names trained weights, of the network or of a part of it; None if nothing does, or they are a library's own."""
        named = (self.weights, *(self.options.get(name) for name in WEIGHTS_OPTIONS[:-1]))
        return next((name for name in named if isinstance(name, str)), None)

    @property
    def compression(self) -> Compression | None:
        """How the network is made smaller before it trains; None if it is not."""
        return parse_compress(self.compress)

    @property
    def recalibration(self) -> Recalibration:
        """What recalibrates the network: block, placement, stages and reduction as one value."""
        return Recalibration(self.block, self.placement, self.stages, self.reduction)
