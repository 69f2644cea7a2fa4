"""What the squeeze of a half-precision map costs: sums have a wider type, the map is not converted."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from senet import BlockSpec, build_block
from senet.spec import block_class

SHAPE = (2, 16, 8, 8)


class WideElements(TorchDispatchMode):
    """Largest float32 tensor that an operation returns."""

    largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        wide = [value.numel() for value in tree_leaves(out) if isinstance(value, Tensor) and value.dtype == torch.float32]
        self.largest = max([self.largest, *wide])
        return out


@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16], ids=["weights float32", "weights too"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(
    "spec",
    [BlockSpec("se"), BlockSpec("se", squeeze="max"), BlockSpec("cmpe_se"), BlockSpec("cmpe_se", variant="pair_2x1")],
    ids=str,
)
def test_no_map_is_converted(spec: BlockSpec, dtype: torch.dtype, weights: torch.dtype) -> None:
    block = build_block(spec, SHAPE[1]).to(weights)
    maps = [torch.randn(SHAPE).to(dtype) for _ in range(2 if block_class(spec.kind).sees_shortcut else 1)]
    with torch.no_grad(), WideElements() as seen:
        block(*maps)
    assert 0 < seen.largest <= 2 * SHAPE[0] * SHAPE[1]


def test_the_mode_sees_a_converted_map() -> None:
    with torch.no_grad(), WideElements() as seen:
        build_block(BlockSpec("se", squeeze="none"), SHAPE[1])(torch.randn(SHAPE).bfloat16())
    assert seen.largest == torch.Size(SHAPE).numel()
