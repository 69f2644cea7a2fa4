"""What a recipe says of the optimiser: its rule, the rates of the parts of a network, and when each part begins to train."""

from dataclasses import dataclass
from typing import Literal

from senet.errors import UsageError


@dataclass(frozen=True)
class PartRates:
    """Factors on the learning rate of the parts of a network; a part with the factor 0 is frozen.

    Args:
        head: of the layers that the network names as its head.
        blocks: of the recalibration blocks, wherever they are.
        host: of everything else.
    """

    head: float = 1.0
    blocks: float = 1.0
    host: float = 1.0


@dataclass(frozen=True)
class PartEpochs:
    """Epochs that pass before each part of a network trains; until then it is frozen.

    Args:
        head: of the layers that the network names as its head.
        blocks: of the recalibration blocks, wherever they are.
        host: of everything else.
    """

    head: int = 0
    blocks: int = 0
    host: int = 0


@dataclass(frozen=True)
class OptimRecipe:
    """Stochastic gradient descent, or AdamW.

    Args:
        lr: learning rate; of adamw usually 1e-4 to 1e-3.
        momentum: momentum; sgd alone reads it.
        nesterov: Nesterov momentum; sgd alone reads it.
        weight_decay: L2 penalty of sgd; decoupled decay of adamw, times the learning rate.
        decay_norm_and_bias: whether BatchNorm parameters and biases decay too.
        clip_norm: largest norm of the gradient; null = no clipping.
        name: "sgd", or "adamw" (Loshchilov and Hutter, 1711.05101).
        betas: decay of adamw's averages of the gradient and of its square.
        eps: added to the root of the latter.
        groups: factors on lr of head, blocks and host; 0 freezes a part.
        layer_decay: factor on lr for each layer between a parameter and the head; a layer is a stage, see docs/finetuning.md. 1 = none.
        lr_batch_size: batch size that lr is for: the run's rate is lr x data.batch_size / lr_batch_size, and rises to it in a warm-up where
            that is more; null = lr is for data.batch_size, whatever it is.
    """

    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 1e-4
    decay_norm_and_bias: bool = True
    clip_norm: float | None = None
    name: Literal["sgd", "adamw"] = "sgd"
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    groups: PartRates = PartRates()
    layer_decay: float = 1.0
    lr_batch_size: int | None = None

    def __post_init__(self) -> None:
        if not all(0 <= beta < 1 for beta in self.betas):
            raise UsageError(f"optim.betas must be two numbers of at least 0 and below 1, got {list(self.betas)}; [0.9, 0.999] is usual")
