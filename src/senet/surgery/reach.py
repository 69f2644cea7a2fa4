"""Whether what modules return matters: what a change of their outputs changes, and whether a gradient comes back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils import _pytree as pytree

from senet.surgery.arguments import Arguments, materialise, tensors
from senet.surgery.hooks import hooked
from senet.surgery.preserve import evaluating, unchanged


class Effect(Enum):
    """Effect of a module's output on the output of the container around it."""

    ACTS = "it reaches the output, and gets a gradient"
    ZERO_INPUT = "it does, but is given zeros only"
    HIDDEN = "a weight of zero hides it"
    NONE = "it reaches nothing"


def effects(container: nn.Module, modules: Sequence[nn.Module], call: Arguments) -> dict[nn.Module, Effect]:
    """Find out what modules do, in evaluation mode, on random inputs of the shapes that their container gets.

    Args:
        container: what is run; nothing of it changes.
        modules: modules in it that return one map.
        call: how the network calls the container.
    """
    device = next((p.device for module in (*modules, container) for p in module.parameters()), torch.device("cpu"))
    with torch.random.fork_rng([device] if device.type == "cuda" else []), unchanged(*container.modules()), evaluating(container):
        args, kwargs = materialise((call.args, dict(call.kwargs)), device)
        seen = _perturb(container, modules, args, kwargs, {})
        hidden = [module for module in modules if module not in seen.reached]
        own = {parameter for module in modules for parameter in module.parameters()}
        opened = {name: torch.ones_like(p) for name, p in container.named_parameters() if p not in own and not p.any()} if hidden else {}
        reached = _perturb(container, modules, args, kwargs, opened).reached if opened else set()
    found = {module: Effect.ZERO_INPUT if module in seen.zeros else Effect.ACTS for module in modules}
    return found | {module: Effect.HIDDEN if module in reached else Effect.NONE for module in hidden}


@dataclass(frozen=True)
class _Seen:
    """Modules that reached the output with value and gradient, and those that were given zeros only."""

    reached: set[nn.Module]
    zeros: set[nn.Module]


def _perturb(container: nn.Module, modules: Sequence[nn.Module], args: Any, kwargs: Any, weights: Mapping[str, Tensor]) -> _Seen:
    """Run a container with and without a small change of each module's output; each run has its own copies of what it may overwrite."""
    zeros: set[nn.Module] = set()
    changes: dict[nn.Module, Tensor] = {}

    def plan(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if not inputs[0].any():
            zeros.add(module)
        changes[module] = (0.1 * torch.randn_like(output)).requires_grad_()

    def change(module: nn.Module, _: Any, output: Tensor) -> Tensor:
        fits = module in changes and output.shape == changes[module].shape  # a shared module may see several sizes
        return output + changes[module] if fits else output

    with hooked(modules, plan), torch.no_grad():
        before = _floats(functional_call(container, dict(weights), *pytree.tree_map_only(Tensor, torch.clone, (args, kwargs))))
    with hooked(modules, change), torch.enable_grad():
        after = _floats(functional_call(container, dict(weights), *pytree.tree_map_only(Tensor, torch.clone, (args, kwargs))))
        loss = sum((1024 * (tensor * torch.randn_like(tensor)).sum() for tensor in after if tensor.requires_grad), torch.zeros(()))
    moved = any(not torch.equal(one, other) for one, other in zip(before, after, strict=True))
    if not moved or not loss.requires_grad:
        return _Seen(set(), zeros)
    gradients = torch.autograd.grad(loss, list(changes.values()), allow_unused=True)
    return _Seen({module for module, gradient in zip(changes, gradients, strict=True) if gradient is not None and gradient.any()}, zeros)


def _floats(tree: Any) -> list[Tensor]:
    return [tensor for tensor in tensors(tree) if tensor.is_floating_point()]
