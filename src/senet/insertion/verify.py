"""Prove that inserted blocks are on the path: they are called, and what they change reaches the output and gets a gradient."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from senet.errors import UsageError
from senet.insertion.plan import Site
from senet.surgery.hooks import evaluating, hooked
from senet.surgery.probe import fill
from senet.surgery.trace import Arguments, tensors, unchanged

ZERO_VALUE = "its branch gives zeros now (weights at zero): the block acts once they have moved"
ZERO_EFFECT = "a weight of zero hides its branch now: the block acts once that has moved"


@dataclass(frozen=True)
class Inserted:
    """Hold one inserted block.

    Args:
        site: where it is.
        block: the block.
        container: the smallest module that holds its unit, as it is after the insertion.
    """

    site: Site
    block: nn.Module
    container: nn.Module


def prove(inserted: Sequence[Inserted], calls: Mapping[nn.Module, Arguments]) -> dict[nn.Module, str]:
    """Prove each block inside its smallest container, in evaluation mode, on random inputs of the shapes that the container gets.

    Args:
        inserted: the blocks.
        calls: how the network calls its modules, with the blocks in it.

    Returns:
        Block -> what is to be said of it: that its branch is zero now, or nothing.

    Raises:
        UsageError: if a block is not called, or does not reach its container's output; it names the path.
    """
    notes: dict[nn.Module, str] = {}
    for container in dict.fromkeys(entry.container for entry in inserted):
        within = [entry for entry in inserted if entry.container is container]
        for entry in within:
            if entry.block not in calls or container not in calls:
                raise UsageError(f"the block at {entry.site.path} is never called: the forward around it goes past {entry.site.host}")
        notes |= _prove_within(container, within, calls[container])
    return notes


def _prove_within(container: nn.Module, inserted: Sequence[Inserted], call: Arguments) -> dict[nn.Module, str]:
    device = next(iter(inserted[0].block.parameters())).device
    with torch.random.fork_rng([device] if device.type == "cuda" else []), unchanged(*container.modules()), evaluating(container):
        args, kwargs = fill((call.args, dict(call.kwargs)), device)
        outcome = _perturb(container, inserted, args, kwargs, {})
        notes = {entry.block: ZERO_VALUE if entry.block in outcome.zeros else "" for entry in inserted}
        hidden = [entry for entry in inserted if entry.block not in outcome.reached]
        if hidden:
            own = {parameter for entry in inserted for parameter in entry.block.parameters()}
            opened = {name: torch.ones_like(p) for name, p in container.named_parameters() if p not in own and not p.any()}
            reached = _perturb(container, inserted, args, kwargs, opened).reached if opened else set()
            for entry in hidden:
                if entry.block not in reached:
                    raise UsageError(f"the block at {entry.site.path} does not reach the output of {entry.site.container or 'the network'}")
                notes[entry.block] = ZERO_EFFECT
    return notes


@dataclass(frozen=True)
class Outcome:
    """Hold which blocks reached the output with value and gradient, and which were given zeros only."""

    reached: set[nn.Module]
    zeros: set[nn.Module]


def _perturb(container: nn.Module, inserted: Sequence[Inserted], args: Any, kwargs: Any, weights: Mapping[str, Tensor]) -> Outcome:
    """Run a container with and without a small change of each block's output."""
    zeros: set[nn.Module] = set()
    changes: dict[nn.Module, Tensor] = {}

    def look(block: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if not inputs[0].any():
            zeros.add(block)
        changes[block] = (0.1 * torch.randn_like(output)).requires_grad_()

    def change(block: nn.Module, _: Any, output: Tensor) -> Tensor:
        fits = block in changes and output.shape == changes[block].shape  # a shared block may see several sizes
        return output + changes[block] if fits else output

    blocks = [entry.block for entry in inserted]
    with hooked(blocks, look), torch.no_grad():
        before = _floats(functional_call(container, dict(weights), args, kwargs))
    with hooked(blocks, change), torch.enable_grad():
        after = _floats(functional_call(container, dict(weights), args, kwargs))
        loss = sum((1024 * (tensor * torch.randn_like(tensor)).sum() for tensor in after if tensor.requires_grad), torch.zeros(()))
    moved = any(not torch.equal(one, other) for one, other in zip(before, after, strict=True))
    if not moved or not loss.requires_grad:
        return Outcome(set(), zeros)
    gradients = torch.autograd.grad(loss, list(changes.values()), allow_unused=True)
    return Outcome({block for block, gradient in zip(changes, gradients, strict=True) if gradient is not None and gradient.any()}, zeros)


def _floats(tree: Any) -> list[Tensor]:
    return [tensor for tensor in tensors(tree) if tensor.is_floating_point()]
