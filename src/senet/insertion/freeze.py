"""Train the blocks only."""

from torch import nn

from senet.blocks.kinds import is_block
from senet.errors import UsageError


def freeze_host(model: nn.Module) -> None:
    """Leave only the blocks of a network to be trained, inserted ones or the zoo's own.

    All other parameters stop to require gradients, and all other modules go into evaluation mode, so that BN keeps its running statistics
    and the plain network can be taken out again unchanged. `model.train()` ends that mode: call this after it, each time.

    Raises:
        UsageError: if the network has no blocks.
    """
    blocks = [module for module in model.modules() if is_block(module)]
    if not blocks:
        raise UsageError(f"{type(model).__name__} has no blocks to train: senet.insert(model) puts them in")
    training = [block.training or model.training for block in blocks]
    model.eval().requires_grad_(False)
    for block, mode in zip(blocks, training, strict=True):
        block.train(mode).requires_grad_(True)
