"""The parts of the measurement, and the time that each may take."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # which loads torch, and is not needed to say which parts there are
    from benchmarks.gpu.place import Found, Place


@dataclass(frozen=True)
class Part:
    """One part, which runs in a process of its own.

    Args:
        about: what it measures.
        home: the function that yields its measures, "module:function" in this package.
        seconds: after which it is ended; what it has yielded by then counts.
        environment: variables that are set for it.
    """

    about: str
    home: str
    seconds: float
    environment: Mapping[str, str] = field(default_factory=dict)

    def measures(self) -> "Callable[[Place], Iterator[Found]]":
        """Return the function; other parts' modules are not imported."""
        module, _, name = self.home.partition(":")
        return getattr(import_module(f"benchmarks.gpu.{module}"), name)


PARTS = {
    "c": Part("residual tails", "tails:tails", 75),
    "f": Part("epochs on CIFAR-10", "epoch:epochs", 90),
    "b": Part("training steps of ResNet-50", "training:steps", 95),
    "w": Part("kernels and graphs are compiled", "warm:warm", 150),
    "d": Part("forward passes of ResNet-50", "inference:forward_passes", 130),
    "k": Part("compiled training steps of ResNet-50", "training:compiled_steps", 80),
    "a": Part("tests on the device", "checks:tests", 250),
    "v": Part("kernels over vectors by their warps", "warps:by_warps", 60),
    "g": Part("epochs of other networks on CIFAR-10", "epoch:more_epochs", 90),
    "e": Part("training steps of other networks", "training:networks", 60),
    "r": Part("whether runs repeat themselves", "repeats:repeats", 120, {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}),
    "h": Part("compiled steps with cooperative reductions", "training:cooperative", 50, {"TORCHINDUCTOR_COOPERATIVE_REDUCTIONS": "1"}),
}
"""Letter -> part, in their order: what costs little for what it says comes first, and what needs compiled graphs behind their compilation.

Seconds are those of a machine just started, where nothing has been imported or compiled before. On an H100's c took 68, the three networks
of f 73, b 90 and d 127.
"""

MINUTES = 9.5
"""Of all parts, unless something else is said."""
BETWEEN = 10.0
"""Seconds before the first part and after the last."""


def fitting(letters: Sequence[str], seconds: float) -> list[str]:
    """Return which of these parts are begun in so many seconds, in their order: each that fits behind those before it."""
    found: list[str] = []
    for letter in letters:
        if sum(PARTS[other].seconds for other in found) + PARTS[letter].seconds <= seconds:
            found.append(letter)
    return found
