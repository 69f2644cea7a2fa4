"""When each part of a network begins to train: until then it is frozen, as parts with the rate 0 are throughout."""

import math
from collections.abc import Collection

from torch import nn

from senet.errors import UsageError
from senet.recipe import Recipe
from senet.training.batchnorm import BATCHNORM
from senet.training.parts import TRAINED_PARTS, Part, module_parts, parameter_parts
from senet.training.rates import check_head_is_known


class Unfreezing:
    """Parts of a network that are frozen in an epoch: no gradient is computed for them, and their BatchNorm keeps its statistics.

    Parameters that the network itself does not train stay as they are. Dropout in a frozen part goes on: a network may decide by its mode
    what it returns, and gives other parts the inputs that they will have later.

    Args:
        model: the network, before anything is frozen.
        recipe: `training.unfreeze` says when parts begin, and a factor 0 in `optim.groups` that one never does.

    Attributes:
        turns: the epochs at which parts begin, but for the first.

    Raises:
        UsageError: if nothing trains in the first epoch, or the head begins by itself and is not known.
    """

    def __init__(self, model: nn.Module, recipe: Recipe) -> None:
        rates, epochs = recipe.optim.groups, recipe.training.unfreeze
        if epochs.head != epochs.host:
            check_head_is_known(model, "training.unfreeze.head")
        self._model = model
        self._begins: dict[Part, float] = {part: getattr(epochs, part) if getattr(rates, part) else math.inf for part in TRAINED_PARTS}
        parts = parameter_parts(model)
        trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
        self._trained: dict[nn.Parameter, Part] = {parameter: parts[name] for name, parameter in trained}
        self.turns = {int(epoch) for epoch in self._begins.values() if 0 < epoch < math.inf}
        if self._trained and min(self._begins[part] for part in self._trained.values()):
            own = [part for part in TRAINED_PARTS if part in self._trained.values()]
            raise UsageError(
                f"nothing trains in the first epoch: this network has {' and '.join(own)}, which optim.groups or training.unfreeze "
                "freeze; give one of them a factor above 0 and training.unfreeze 0"
            )

    def frozen(self, epoch: int) -> list[Part]:
        """Return the parts that are frozen in an epoch, counted from 0."""
        return [part for part, begin in self._begins.items() if epoch < begin]

    def hold(self, epoch: int) -> None:
        """Freeze the parts that are frozen in an epoch, and let the others train; `model.train()` lets BatchNorm go: call this after it."""
        if not any(self._begins.values()):
            return
        frozen = self.frozen(epoch)
        for parameter, part in self._trained.items():
            parameter.requires_grad_(part not in frozen)
            if part in frozen:
                parameter.grad = None
        hold_statistics(self._model, frozen)


def hold_statistics(model: nn.Module, parts: Collection[Part]) -> None:
    """Put BatchNorm in some parts of a network in evaluation mode."""
    if parts:
        for module, part in module_parts(model).items():
            if part in parts and isinstance(module, BATCHNORM):
                module.eval()
