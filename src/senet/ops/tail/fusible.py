"""Whether the fused tail computes what modules would, and which implementation then runs."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from senet.ops.backend import REFERENCE, choose, requested, requested_or_best
from senet.ops.hooks import is_bare
from senet.ops.passes.protocol import PairKernels
from senet.ops.tail.autograd import PreactivatedFunction, TailFunction
from senet.ops.tail.batchnorm import is_joint
from senet.ops.tail.custom_op import tail_by_name
from senet.ops.tail.gates import Gates
from senet.ops.tail.joint import LAYERS
from senet.ops.tail.preactivated_op import preactivated_by_name
from senet.ops.tail.rows import TensorRow

Map = Callable[[Tensor], Tensor]

MAP_DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
"""Types of maps that the fused operator takes."""


@dataclass(frozen=True)
class TailModules:
    """Modules that a tail is computed from; None = no such part.

    Args:
        norm: the branch's last normalisation.
        shortcut_norm: the normalisation of a projected shortcut.
        recalibrate: the unit's block.
        gain: constant factor behind the block.
        relu: whether a ReLU ends the unit.
    """

    norm: Map | None = None
    shortcut_norm: Map | None = None
    recalibrate: Callable[..., Tensor] | None = None
    gain: float = 1.0
    relu: bool = False


def takes(branch: Tensor, shortcut: Tensor | None, modules: TailModules) -> Gates | None:
    """Return the gates with which the fused operator computes just what these parts would; None if it does not, or has nothing to save."""
    if branch.ndim != 4 or branch.dtype not in MAP_DTYPES or branch.numel() == 0:
        return None
    if (shortcut is not None and shortcut.shape != branch.shape) or (modules.norm is None and modules.recalibrate is None):
        return None
    return _gates_of(modules.recalibrate, modules.gain) if _is_norm(modules.norm) and _is_norm(modules.shortcut_norm) else None


def gates_channels(recalibrate: Any) -> bool:
    """Return whether a block gates channels, and nothing else, in a way that the operator takes."""
    gates = _tail_gates(recalibrate)
    return gates is not None and gates.channels is not None and gates.positions is None


def _tail_gates(part: Any, gain: float = 1.0) -> Gates | None:
    return getattr(part, "tail_gates", lambda gain: None)(gain)


def is_relu(part: Any) -> bool:
    """Return whether this is a ReLU, and nobody listens to it."""
    return part is torch.relu or (type(part) is nn.ReLU and is_bare(part))


def _is_norm(part: Any) -> bool:
    return part is None or (type(part) in LAYERS and is_bare(part))


def _gates_of(part: Any, gain: float) -> Gates | None:
    """Return the gates of a block that the operator takes, else None; of None, none."""
    if part is None:
        return Gates(None)
    return _tail_gates(part, gain) if isinstance(part, nn.Module) and is_bare(part) else None


def is_traced(*maps: Any) -> bool:
    """Return whether these are symbols of a trace that is for other engines, or values of torch.func; torch.compile takes the operator."""
    # The type, since symbols may say that they are tensors; the flag, and not `is_exporting()`, which torch.compile of torch 2.11 takes for
    # True in every graph.
    if not all(issubclass(type(x), Tensor) for x in maps) or torch.compiler._is_exporting_flag:
        return True
    if torch.jit.is_tracing():  # pyright: ignore[reportPrivateImportUsage]
        return True
    return torch._C._functorch.maybe_current_level() is not None  # pyright: ignore[reportAttributeAccessIssue]


Run = Callable[..., TensorRow]
"""Computes what `TailFunction` does from a form, the maps and the tensors."""


def implementation(branch: Tensor, modules: TailModules) -> Run | None:
    """Return what computes the tail of these maps; None = the definition."""
    if torch.compiler.is_compiling():
        return _in_a_graph(branch, modules)
    kernels = choose(branch).kernels
    return None if kernels is None else partial(TailFunction.apply, kernels)


def pair_implementation(branch: Tensor, modules: TailModules, gates: Gates) -> Callable[..., Any] | None:
    """Return what computes the tail of a pre-activation unit, with gates of channels or none; None = the definition.

    A compiler fuses a sum and the normalisation behind it as well as the operator does, but not a block with both.
    """
    if torch.compiler.is_compiling():
        name = _named_in_a_graph(branch, modules)
        return None if name is None or gates.channels is None else partial(preactivated_by_name, name)
    kernels = choose(branch).kernels
    return partial(PreactivatedFunction.apply, kernels) if isinstance(kernels, PairKernels) else None


def _in_a_graph(branch: Tensor, modules: TailModules) -> Run | None:
    name = _named_in_a_graph(branch, modules)
    return None if name is None else partial(tail_by_name, name)


def _named_in_a_graph(branch: Tensor, modules: TailModules) -> str | None:
    """Return the backend of an operator in compiled code, None for the definition."""
    if is_joint(modules.norm) or is_joint(modules.shortcut_norm):  # an operator cannot be given processes
        return None
    name = requested_or_best(branch.device.type)
    if name == REFERENCE or not (
        torch.is_grad_enabled() or requested() is not None
    ):  # without gradients a compiler fuses the definition itself
        return None
    return name
