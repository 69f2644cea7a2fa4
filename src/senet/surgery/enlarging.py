"""What enlarges maps: interpolation, unpooling, transposed convolution, pixel shuffle; not padding, nor a growing row of tokens."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from senet.surgery import roles


def larger(before: Sequence[int], after: Sequence[int]) -> bool:
    """Return whether a map (N, C, *S) has grown along some axes of S and shrunk along none."""
    pairs = list(zip(before[2:], after[2:], strict=False))
    grown = any(new > old for old, new in pairs)
    return len(before) == len(after) and grown and all(new >= old for old, new in pairs)


class Enlarging(TorchFunctionMode):
    """Record of the modules in which maps are resampled to larger ones, while it is entered.

    Attributes:
        running: the modules that are being called, outermost first; whoever runs the network keeps it.
        resampling: those in which a map was interpolated, unpooled, shuffled or convolved transposed, and was larger then.
        joining: those in which maps were padded or joined.
    """

    def __init__(self) -> None:
        super().__init__()
        self.running: list[nn.Module] = []
        self.resampling: set[nn.Module] = set()
        self.joining: set[nn.Module] = set()

    def enlarges(self, module: nn.Module, before: Sequence[int], after: Sequence[int]) -> bool:
        """Return whether a module that was called enlarges maps: it resamples, or without weights and joints it multiplies their sides.

        The latter is told by shapes alone, so the channels must be as many as before: else it permutes axes.
        """
        if not larger(before, after) or isinstance(module, roles.ADAPTIVE_POOLS):
            return False
        bare = next(module.parameters(), None) is None and module not in self.joining and before[:2] == after[:2]
        return module in self.resampling or (bare and all(new % old == 0 for old, new in zip(before[2:], after[2:], strict=True)))

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function of torch and note whose it was."""
        given = kwargs or {}
        result = func(*args, **given)
        name = getattr(func, "__name__", "")
        if name in roles.JOIN:
            self.joining.update(self.running)
        elif name in roles.UPSAMPLE and isinstance(result, Tensor):
            before = args[0] if args else given.get("input")
            if isinstance(before, Tensor) and larger(before.shape, result.shape):
                self.resampling.update(self.running)
        return result
