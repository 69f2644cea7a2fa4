"""Whether a tensor's memory can be read and written directly."""

import torch
from torch import Tensor


def is_direct(x: Tensor) -> bool:
    """Return whether operators without a derivative may work on a tensor: not for compilers, traces, autograd, torch.func or fakes."""
    if torch.compiler.is_compiling() or type(x) not in (Tensor, torch.nn.Parameter):
        return False
    if torch.jit.is_tracing():  # pyright: ignore[reportPrivateImportUsage]
        return False
    if x.requires_grad and (torch.is_grad_enabled() or not x.is_leaf):
        return False
    return torch._C._functorch.peek_interpreter_stack() is None  # pyright: ignore[reportAttributeAccessIssue]
