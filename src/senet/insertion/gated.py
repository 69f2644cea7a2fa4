"""The wrapper that puts a block before or behind a module."""

from typing import Any, Literal

from torch import Tensor, nn

from senet.ops.tail.call import recalibrated_norm

NOTED_TYPES = (bool, int, float, str, list, tuple)
"""Types of a host's attributes that the wrapper has too: what a network notes on its modules, such as where one takes its input from."""


class Gated(nn.Module):
    """Wrapper that recalibrates what a module returns, or what it is given.

    A plain wrapper survives what replaces or fuses modules (SyncBatchNorm, fusion of convolution and BN), or fails aloud there; a forward
    hook or a changed class would lose the block silently. State-dict keys gain `host.`; `senet.rename_keys` maps them both ways.

    Args:
        host: the wrapped module.
        se: the block.
        on: whether the block acts on the host's "output" or on its first "input".
        axis: axis of the channels: 1, or the last one where they come last.
        gain: constant factor behind the block, see `start_as_identity` of the blocks.
    """

    def __init__(
        self, host: nn.Module, se: nn.Module, *, on: Literal["output", "input"] = "output", axis: int = 1, gain: float = 1.0
    ) -> None:
        super().__init__()
        self.host = host
        self.se = se
        self.on = on
        self.axis = axis
        self.gain = gain
        self.training = host.training

    def __getattr__(self, name: str) -> Any:
        """Return what this module has, or a plain attribute of its host; weights and sub-modules of the host stay its own."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            host = self.__dict__.get("_modules", {}).get("host")
            value = None if host is None or name.startswith("_") else vars(host).get(name)
            if isinstance(value, NOTED_TYPES):
                return value
            raise

    def recalibrate(self, x: Tensor) -> Tensor:
        """Apply block and gain. x: (N, C, *S), or (N, *S, C) where the axis is the last -> the same shape."""
        y = self.se(x) if self.axis == 1 else self.se(x.movedim(self.axis, 1)).movedim(1, self.axis)
        return y if self.gain == 1 else y * self.gain

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the host, with its first argument or its result recalibrated."""
        if self.on == "input":
            return self.host(self.recalibrate(args[0]), *args[1:], **kwargs)
        if isinstance(self.host, nn.BatchNorm2d | nn.SyncBatchNorm) and self.axis == 1 and len(args) == 1:
            return recalibrated_norm(*args, self.host, self.se, self.gain)
        return self.recalibrate(self.host(*args, **kwargs))

    def extra_repr(self) -> str:
        """Return where the block acts."""
        axis = "" if self.axis == 1 else f", axis={self.axis}"
        return f"on={self.on!r}{axis}" + ("" if self.gain == 1 else f", gain={self.gain:g}")
