"""The constant factors behind inserted blocks, with which they start as the identity."""

from torch import nn

from senet.insertion.gated import Gated
from senet.insertion.rewrite import Rewritten


def gains(model: nn.Module) -> dict[nn.Module, float]:
    """Return inserted block -> the factor that its result is multiplied by; those of the zoo's own units have none."""
    found: dict[nn.Module, float] = {}
    for module in model.modules():
        if isinstance(module, Gated):
            found[module.se] = module.gain
        elif isinstance(module, Rewritten):
            found |= {module.get_submodule(edit.name): edit.gain for edit in module._senet.edits}
    return found
