"""A tail without its tensors: what autograd and compilers keep apart from them."""

from dataclasses import dataclass
from typing import Any

from senet.ops.tail.batchnorm import BatchNorm, RunningAverages
from senet.ops.tail.channel import ChannelTail
from senet.ops.tail.gates import Excitation, Gates, Projection
from senet.ops.tail.rows import TailTensors, TensorRow
from senet.ops.tail.spatial import SpatialTail

Tail = ChannelTail | SpatialTail


@dataclass(frozen=True)
class Form:
    """Make-up of a tail, without its tensors.

    Args:
        use_batch: whether the branch's normalisation uses the batch's statistics; None = there is no normalisation.
        eps: what it adds to the variance.
        shortcut_use_batch: as `use_batch`, for the shortcut.
        shortcut_eps: as `eps`, for the shortcut.
        gate: name of the gate's non-linearity; None = channels are not gated.
        gain: constant factor behind the gate.
        relu: whether a ReLU ends the unit.
        group: the processes that share the branch's batch; None = this one has its own.
        shortcut_group: as `group`, for the shortcut.
        averages: what moves the branch's running averages; None = it is left to `update_running`.
        shortcut_averages: as `averages`, for the shortcut.
    """

    use_batch: bool | None
    eps: float
    shortcut_use_batch: bool | None
    shortcut_eps: float
    gate: str | None
    gain: float
    relu: bool
    group: Any = None
    shortcut_group: Any = None
    averages: RunningAverages | None = None
    shortcut_averages: RunningAverages | None = None

    @classmethod
    def of(cls, tail: Tail) -> "Form":
        """Return the form of a tail."""
        norm, shortcut, gate = tail.norm, tail.shortcut_norm, tail.gate
        of_norm = (None, 0.0) if norm is None else (norm.use_batch, norm.eps)
        of_shortcut = (None, 0.0) if shortcut is None else (shortcut.use_batch, shortcut.eps)
        of_gate = (None, 1.0) if gate is None else (gate.name, gate.gain)
        groups = (None if norm is None else norm.group, None if shortcut is None else shortcut.group)
        averages = (None if norm is None else norm.averages, None if shortcut is None else shortcut.averages)
        return cls(*of_norm, *of_shortcut, *of_gate, tail.relu, *groups, *averages)

    def arguments(self) -> tuple[Any, ...]:
        """Return all but the processes and what moves averages, as `SCHEMA` has it."""
        return (self.use_batch, self.eps, self.shortcut_use_batch, self.shortcut_eps, self.gate, self.gain, self.relu)

    def tail(self, tensors: TailTensors) -> Tail:
        """Return the tail of this form with these tensors."""
        t = tensors
        norm, shortcut_norm, gate, projection = None, None, None, None
        if self.use_batch is not None:
            norm = BatchNorm(t.gamma, t.beta, t.running_mean, t.running_var, self.use_batch, self.eps, self.group, self.averages)
        if self.shortcut_use_batch is not None:
            running = t.shortcut_running_mean, t.shortcut_running_var
            of_batch = self.shortcut_use_batch, self.shortcut_eps, self.shortcut_group, self.shortcut_averages
            shortcut_norm = BatchNorm(t.shortcut_gamma, t.shortcut_beta, *running, *of_batch)
        if self.gate is not None and t.w1 is not None and t.w2 is not None:
            gate = Excitation(t.w1, t.b1, t.w2, t.b2, self.gate, self.gain)
        if t.position_weight is not None:
            projection = Projection(t.position_weight, t.position_bias)
        return tail_of(norm, Gates(gate, projection), shortcut_norm, self.relu)


SCHEMA = ("bool? use_batch", "float eps", "bool? shortcut_use_batch", "float shortcut_eps", "str? gate", "float gain", "bool relu")
"""What `Form.arguments` returns, as torch's operators declare it."""


def tail_of(norm: BatchNorm | None, gates: Gates, shortcut_norm: BatchNorm | None, relu: bool) -> Tail:
    """Return the tail with these gates."""
    if gates.positions is None:
        return ChannelTail(norm, gates.channels, shortcut_norm, relu)
    return SpatialTail(norm, gates.channels, gates.positions, shortcut_norm, relu)


def tensors_of(tail: Tail) -> TailTensors:
    """Return the tensors of a tail."""
    rows: list[TensorRow] = [
        (None,) * 4 if n is None else (n.gamma, n.beta, n.running_mean, n.running_var) for n in (tail.norm, tail.shortcut_norm)
    ]
    rows.append((None,) * 4 if tail.gate is None else (tail.gate.w1, tail.gate.b1, tail.gate.w2, tail.gate.b2))
    projection = tail.projection if isinstance(tail, SpatialTail) else None
    rows.append((None, None) if projection is None else (projection.weight, projection.bias))
    return TailTensors(*(v for row in rows for v in row))
