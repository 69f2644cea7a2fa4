"""What of a detector's backbone stands still: its first stages and its batch norms, as in Detectron."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm

from senet.blocks.kinds import modules_of_blocks
from senet.errors import UsageError
from senet.models.classifier import Classifier
from senet.unit_values import whole


@dataclass(frozen=True)
class Freezing:
    """Parts of a backbone that do not train.

    Args:
        stages: the stem and the stages up to this number, in the paper's numbering: 2 = stem and first stage of a ResNet; 0 = none.
        norms: all batch norms: statistics, gamma and beta, in training mode too.
        blocks: the recalibration blocks of frozen stages too. They train otherwise, as blocks do that are new in a trained network.
    """

    stages: int = 0
    norms: bool = False
    blocks: bool = False

    def apply(self, body: Classifier) -> None:
        """Take what stands still out of training.

        Raises:
            UsageError: for a stage that the network does not have, or a switch that is neither true nor false.
        """
        for name, switch in (("frozen_bn", self.norms), ("frozen_blocks", self.blocks)):
            if switch not in (True, False):
                raise UsageError(f"{name} must be true or false, got {switch!r}")
        known = list(body.stages)
        if whole(self.stages) not in (0, *range(min(known) - 1, max(known) + 1)):
            raise UsageError(
                f"frozen_stages is the last stage that stands still, of {', '.join(map(str, known))}; 0 for none; got {self.stages!r}"
            )
        of_blocks = set() if self.blocks else {parameter for module in modules_of_blocks(body) for parameter in module.parameters()}
        for parameter in self._parameters(body):
            if parameter not in of_blocks:
                parameter.requires_grad_(False)
        for norm in self.still_norms(body):
            for parameter in norm.parameters():
                parameter.requires_grad_(False)

    def still_norms(self, body: nn.Module) -> list[nn.Module]:
        """Return the batch norms that stand still: all but those inside blocks."""
        if not self.norms:
            return []
        of_blocks = modules_of_blocks(body)
        return [module for module in body.modules() if isinstance(module, BatchNorm) and module not in of_blocks]

    def _parameters(self, body: Classifier) -> Iterator[nn.Parameter]:
        """Yield the parameters of the frozen stages and of what comes before the first stage."""
        if not self.stages:
            return
        stage_of = {id(p): number for number, stage in body.stages.items() for p in stage.parameters()}
        began = False
        for parameter in body.parameters():
            stage = stage_of.get(id(parameter))
            began = began or stage is not None
            if (stage is None and not began) or (stage is not None and stage <= self.stages):
                yield parameter
