"""Which parameters an optimiser changes at which rate and with which decay: the groups of fine-tuning."""

from typing import Any

from torch import nn

from senet.errors import UsageError
from senet.recipe import OptimRecipe, PartRates
from senet.training.depths import layers_to_head
from senet.training.parts import head_paths, parameter_parts


def parameter_groups(model: nn.Module, recipe: OptimRecipe) -> list[dict[str, Any]]:
    """Split the parameters by learning rate and weight decay.

    Biases and BatchNorm's gamma and beta (all that are vectors) may be spared the decay. Each group holds its "factor" on the schedule's
    rate: that of the part, `optim.groups`, times `optim.layer_decay` to the power of the layers that lie between a parameter and the head.

    Raises:
        UsageError: if the head has a rate of its own, and there is none.
    """
    factors = rate_factors(model, recipe)
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    parameters = list(model.named_parameters())
    for is_decayed in (True, False):
        for name, parameter in parameters:
            if is_decayed == (recipe.decay_norm_and_bias or parameter.ndim >= 2):
                groups.setdefault((factors[name], is_decayed), []).append(parameter)
    return [
        {"params": members, "weight_decay": recipe.weight_decay if is_decayed else 0.0, "factor": factor}
        for (factor, is_decayed), members in groups.items()
    ]


def rate_factors(model: nn.Module, recipe: OptimRecipe) -> dict[str, float]:
    """Return the factor on the learning rate of every parameter of a network, by its name.

    Raises:
        UsageError: if the head has a rate of its own, and there is none.
    """
    own = recipe.groups
    if own.head != own.host:
        check_head_is_known(model, "optim.groups.head")
    parts = parameter_parts(model) if own != PartRates() else dict.fromkeys(name for name, _ in model.named_parameters())
    layers = layers_to_head(model) if recipe.layer_decay != 1 else dict.fromkeys(parts, 0)
    return {name: (1.0 if part is None else getattr(own, part)) * recipe.layer_decay ** layers[name] for name, part in parts.items()}


def check_head_is_known(model: nn.Module, field: str) -> None:
    """Raise UsageError if a field of a recipe speaks of the head of a network that has none which is known."""
    if not head_paths(model):
        raise UsageError(
            f"{field} needs to know the head of {type(model).__name__}: an attribute `head` of the network, the path of its last layer or "
            'a list of paths such as ["rpn", "roi_heads"], says which it is'
        )
