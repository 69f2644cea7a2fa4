"""Networks whose gates are constants, by hooks on their blocks: what folded networks are held against."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from senet.blocks.kinds import is_block


@contextmanager
def frozen(model: nn.Module, gates: Mapping[str, Tensor]) -> Iterator[nn.Module]:
    """Let blocks, by path, return their input times a constant a channel, (C,)."""
    with ExitStack() as stack:
        for path, gate in gates.items():

            def constant(_: nn.Module, inputs: tuple[Tensor, ...], __: Tensor, gate: Tensor = gate) -> Tensor:
                x = inputs[0]
                return x * gate.to(x.dtype).reshape(-1, *[1] * (x.ndim - 2))

            handle = model.get_submodule(path).register_forward_hook(constant)
            stack.callback(handle.remove)
        yield model


def drawn_gates(model: nn.Module, low: float = 0.1, high: float = 0.9) -> dict[str, Tensor]:
    """Return a gate for each of our blocks that lies in no other, (C,) float64, all different."""
    generator = torch.Generator().manual_seed(2)
    outer: dict[str, Tensor] = {}
    blocks: list[tuple[str, Any]] = list(model.named_modules())
    for path, block in blocks:
        if is_block(block) and not any(path.startswith(f"{other}.") for other in outer):
            outer[path] = low + (high - low) * torch.rand(block.channels, generator=generator, dtype=torch.float64)
    return outer
