"""The memory of one training step: what autograd keeps for the backward pass, and the peak."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from senet.measuring.saved import SavedBytes
from senet.measuring.steps import TrainingStep


@dataclass(frozen=True)
class Memory:
    """Bytes of one training step.

    Args:
        saved: distinct storages kept for the backward pass, without parameters and buffers.
        peak: most that the step had allocated at any time, its gradients included; what was there before it (parameters, images) is not.
    """

    saved: int
    peak: int

    def to_dict(self) -> dict[str, int]:
        """Return plain data, ready for JSON."""
        return asdict(self)


def memory_of(step: TrainingStep) -> Memory:
    """Measure a training step; it should have run once, so that nothing is allocated for good."""
    return Memory(_saved(step), _peak(step))


def _saved(step: TrainingStep) -> int:
    with SavedBytes((*step.model.parameters(), *step.model.buffers())) as saved:
        step()
    return saved.total


def _peak(step: TrainingStep) -> int:
    step.zero_grad()
    device = step.inputs[0].device
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        step()
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    results = profiler.profiler
    assert results is not None
    assert results.kineto_results is not None
    events: list[Any] = [event for event in results.kineto_results.events() if event.name() == "[memory]"]
    allocated = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        allocated += event.nbytes()  # negative where memory is given back
        peak = max(peak, allocated)
    return peak
