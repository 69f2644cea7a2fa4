"""The parts of the measurement, and the time that each may take."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module

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

    def measures(self) -> Callable[[Place], Iterator[Found]]:
        """Return the function; other parts' modules are not imported."""
        module, _, name = self.home.partition(":")
        return getattr(import_module(f"benchmarks.gpu.{module}"), name)


PARTS = {
    "w": Part("kernels and graphs are compiled", "warm:warm", 105),
    "a": Part("tests on the device", "checks:tests", 55),
    "b": Part("training steps of ResNet-50", "training:steps", 45),
    "c": Part("residual tails", "tails:tails", 30),
    "f": Part("epochs on CIFAR-10", "epoch:epochs", 40),
    "d": Part("forward passes of ResNet-50", "inference:forward_passes", 62),
    "k": Part("compiled training steps of ResNet-50", "training:compiled_steps", 70),
    "e": Part("training steps of other networks", "training:networks", 35),
    "h": Part("compiled steps with cooperative reductions", "training:cooperative", 28, {"TORCHINDUCTOR_COOPERATIVE_REDUCTIONS": "1"}),
}
"""Letter -> part, in their order: what matters most comes first, should the time run out."""

WHOLE = 470.0
"""Seconds of all parts."""
