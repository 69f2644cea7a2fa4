"""How the layers of a block are initialised."""

from torch import nn


def init_fan_in_(layer: nn.Linear | nn.Conv2d, *, relu: bool = False) -> None:
    """Draw the weights by fan-in (He et al., 1502.01852), for a ReLU behind the layer or for none, and set the bias to 0."""
    if layer.weight.is_meta:
        return
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu" if relu else "linear")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def zero_(layer: nn.Linear | nn.Conv2d, *, bias: float = 0.0) -> None:
    """Set the weights to 0, and the bias to a constant."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.constant_(layer.bias, bias)
