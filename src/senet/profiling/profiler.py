"""Measure a network: count, then time it against its plain twin, then time its parts."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from time import perf_counter, process_time
from typing import TypeVar

import torch
from torch import Tensor, nn

from senet.errors import UsageError
from senet.insertion.gated import Gated
from senet.insertion.remove import remove
from senet.insertion.rewrite import Rewritten
from senet.measuring.attribution import growth_by_part, record_readings
from senet.measuring.counting import Cost, count, operations
from senet.measuring.device import synchronize
from senet.measuring.exhaustion import is_out_of_memory
from senet.measuring.numbers import plural
from senet.measuring.parts import block_paths, owner, unit_paths
from senet.measuring.steps import InferenceStep
from senet.measuring.timing import Timing, interleave
from senet.models.create import model_from_config
from senet.models.network import ModelConfig, Network
from senet.profiling.result import LONG_CALL, PartRow, Profile
from senet.surgery.duplicate import duplicate
from senet.surgery.wrappers import unwrap
from senet.text import printable
from senet.unit_values import counts_by_place, whole

Placed = TypeVar("Placed", Tensor, nn.Module)
Counts = TypeVar("Counts")
CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
"""Axes of a weight -> the memory format in which its channels come last."""

Seconds = dict[str, tuple[float, float]]
"""Part -> wall-clock and process-CPU seconds in one forward pass."""


def profile(
    model: nn.Module,
    input_size: Sequence[int] | None = None,
    *,
    latency: bool = True,
    rounds: int = 11,
    max_seconds: float = 30.0,
    status: Callable[[str], object] = lambda step: None,
) -> Profile:
    """Measure a network, part by part, and its plain twin if it has recalibration blocks and comes from the zoo.

    MACs are counted as in Hu et al. (1709.01507), Table 2. The network and its twin are timed in turn, in one run. The model itself is not
    changed; it is measured on its device, in its floating type and memory format.

    Args:
        model: any network that takes a batch of images; of what is compiled or wrapped, the network inside is measured.
        input_size: (N, C, H, W) of the batch; None = one image of the model's own size.
        latency: whether to time it, which a model without memory (device "meta") is not; counting alone takes two forward passes.
        rounds: rounds of timing.
        max_seconds: no new round of timing begins after so many seconds; where a call takes longer than `LONG_CALL`, after the first
            round, else after three.
        status: told what is being done.

    Raises:
        UsageError: if the model does not say its input size and none is given, a length is below 1, or it cannot be run on such images.
    """
    model = unwrap(model)
    size = _input_size(model, input_size)
    network, twin = duplicate(model), _plain_twin(model)
    x = _placed_like(model, torch.randn(size, generator=torch.Generator().manual_seed(0)))
    timings: dict[str, Timing] = {}
    with _runnable(model, size):
        if latency and not x.is_meta:
            status("timing the network" if twin is None else "timing the network and its plain twin, in turn")
            runs = {name: InferenceStep(net.eval(), (x,)) for name, net in (("model", network), ("plain", twin)) if net is not None}
            timings = interleave(runs, rounds=rounds, max_seconds=max_seconds, long_call=LONG_CALL)
        status("measuring the parts")
        plain = None if twin is None else _profile(twin, x, timings.get("plain"))
        return replace(_profile(network, x, timings.get("model")), plain=plain)


def total_cost(model: nn.Module, input_size: Sequence[int]) -> Cost:
    """Count the parameters, MACs and squeeze additions of a network as a whole, as `profile` does, and not what training keeps in memory.

    Args:
        model: any network that takes a batch of images; it is not changed.
        input_size: (N, C, H, W) of the batch.

    Raises:
        UsageError: if it cannot be run on such images.
    """
    network, size = duplicate(model).eval(), tuple(input_size)
    x = _placed_like(model, torch.randn(size, generator=torch.Generator().manual_seed(0)))
    with _runnable(model, size):
        macs, adds = _counted(operations, network, x)
    return Cost(sum(parameter.numel() for parameter in model.parameters()), macs[""], adds[""])


def block_costs(model: nn.Module, input_size: Sequence[int]) -> dict[str, Cost]:
    """Count what each recalibration block of a network costs, as `total_cost` counts the whole.

    Args:
        model: any network that takes a batch of images; it is not changed.
        input_size: (N, C, H, W) of the batch.

    Raises:
        UsageError: if it cannot be run on such images.
    """
    network, size, paths = duplicate(model).eval(), tuple(input_size), block_paths(model)
    x = _placed_like(model, torch.randn(size, generator=torch.Generator().manual_seed(0)))
    with _runnable(model, size):
        macs, adds = _counted(partial(operations, paths=paths), network, x)
    params = {path: sum(parameter.numel() for parameter in model.get_submodule(path).parameters()) for path in paths}
    return {path: Cost(params[path], macs[path], adds[path]) for path in paths}


@contextmanager
def _runnable(model: nn.Module, size: tuple[int, ...]) -> Iterator[None]:
    """Say in one line that a network does not take a batch of such images, whatever it raises then."""
    try:
        yield
    except UsageError:
        raise
    except (AssertionError, TypeError, ValueError, AttributeError, LookupError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        raise UsageError(
            f"cannot run {type(model).__name__} on a batch of images {size} ({printable(f'{type(error).__name__}: {error}')}): give "
            "input_size as it takes them, or profile the part that takes images"
        ) from error


def _input_size(model: nn.Module, input_size: Sequence[int] | None) -> tuple[int, ...]:
    if input_size is None:
        own = getattr(model, "input_size", None)
        if own is None:
            raise UsageError(f"{type(model).__name__} does not say its input size: give input_size, such as (1, 3, 224, 224)")
        return (1, *own)
    size = counts_by_place(tuple(input_size))
    if not isinstance(size, tuple) or len(size) < 2 or any(whole(length) is None or length < 1 for length in size):
        raise UsageError(f"input_size must be (N, C, H, W), each at least 1, got {size}")
    return size


def _plain_twin(model: nn.Module) -> nn.Module | None:
    if any(isinstance(module, Gated | Rewritten) for module in model.modules()):
        twin = duplicate(model)
        remove(twin)
        return twin
    if not isinstance(model, Network) or not block_paths(model):
        return None
    return _placed_like(model, model_from_config({"name": model.config.name, "options": model.config.options}, plain=True))


def _placed_like(model: nn.Module, thing: Placed) -> Placed:
    """Move a network or images to the device, floating type and memory format of the model."""
    parameters = list(model.parameters())
    if parameters:
        thing = thing.to(parameters[0].device, parameters[0].dtype)
    for ndim, layout in CHANNELS_LAST.items():
        if any(p.ndim == ndim and not p.is_contiguous() and p.is_contiguous(memory_format=layout) for p in parameters):
            thing = thing.to(memory_format=layout)
    return thing


def _profile(model: nn.Module, x: Tensor, timing: Timing | None) -> Profile:
    units, blocks = unit_paths(model), block_paths(model)
    parts = list(dict.fromkeys([*units, *blocks]))
    passes = [] if timing is None else _timed_passes(model, x, parts, timing)
    costs = _counted(partial(count, paths=parts), model, x)
    rows = []
    for unit in [*units, ""]:
        inside = [path for path in costs if owner(path, units) == unit]
        shared = [path for path in inside if path in blocks]
        cost, share = (sum((costs[path] for path in paths), Cost()) for paths in (inside, shared))
        latency, share_latency = (_total(passes, paths) if passes else None for paths in (inside, shared))
        rows.append(PartRow(unit, type(model.get_submodule(unit)).__name__, cost, share, latency, share_latency))
    config = getattr(model, "config", None)
    name = config.name if isinstance(config, ModelConfig) else type(model).__name__
    device = f"cpu, {plural(torch.get_num_threads(), 'thread')}" if x.device.type == "cpu" else str(x.device)
    counted_for = getattr(model, "counted_for", "")
    return Profile(name, tuple(x.shape), device, str(x.dtype).removeprefix("torch."), tuple(rows), timing, counted_for=counted_for)


def _counted(counter: Callable[[nn.Module, Tensor], Counts], model: nn.Module, x: Tensor) -> Counts:
    """Count on the meta device, where the maps of large images take no memory; on the model's own if the network needs numbers."""
    try:
        return counter(duplicate(model).to("meta"), x.to("meta"))
    except Exception:  # a forward may make tensors of its own, or ask for their values
        return counter(model, x)


def _timed_passes(model: nn.Module, x: Tensor, parts: Collection[str], timing: Timing) -> list[Seconds]:
    run = InferenceStep(model.eval(), (x,))

    def clocks() -> tuple[float, float]:
        synchronize(x.device)
        return perf_counter(), process_time()

    passes = []
    warm_ups = 0 if timing.median > LONG_CALL else 1  # a long call gains nothing from a second one before it
    for _ in range(timing.rounds + warm_ups):
        log = record_readings(run, model, parts, clocks)
        walls, cpus = (growth_by_part([(path, reading[clock]) for path, reading in log]) for clock in (0, 1))
        passes.append({path: (walls[path], cpus[path]) for path in walls})
    return passes[warm_ups:]


def _total(passes: Sequence[Seconds], paths: Collection[str]) -> Timing:
    walls, cpus = (tuple(sum(seconds[path][clock] for path in paths if path in seconds) for seconds in passes) for clock in (0, 1))
    return Timing(walls, cpus)
