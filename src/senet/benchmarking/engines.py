"""What can run a network: name -> how to make the function that is timed. Another engine is another entry."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch

from senet.benchmarking.files import cuda_provider, onnxruntime_cuda_step, onnxruntime_step, openvino_step
from senet.benchmarking.peers import PEERS, peer_name, peer_step
from senet.benchmarking.settings import BENCH_MODES, DTYPES, Settings
from senet.benchmarking.workload import PLAIN_FORM, Workload
from senet.deploy.optimize import optimize
from senet.errors import UsageError
from senet.measuring.steps import AUTOCAST, InferenceStep, TrainingStep, cross_entropy_of
from senet.spec import check_choice

Function = Callable[[], object]


@dataclass(frozen=True)
class Engine:
    """One way to run a network.

    Args:
        build: called with the workload and a form of its network; returns what is timed.
        modes: the modes that it has.
        dtypes: the types that it computes in.
        devices: the types of device that it runs on; empty = any.
        needs: module to import -> what to install for it.
        check: raises UsageError if it lacks a form of the workload's network; called before anything is built.
    """

    build: Callable[[Workload, str], Function]
    modes: tuple[str, ...] = BENCH_MODES
    dtypes: tuple[str, ...] = DTYPES
    devices: tuple[str, ...] = ()
    needs: Mapping[str, str] = field(default_factory=dict)
    check: Callable[[Workload, str], object] = lambda work, form: None


def network_step(work: Workload, form: str, *, tails: str | None = None) -> Function:
    """Run a network of this package by PyTorch, its residual tails by a backend."""
    return torch_step(work, work.networks[form], tails=tails)


def optimised_step(work: Workload, form: str, *, compiled: bool = False) -> Function:
    """Run the inference form of a network, `senet.optimize`, as it is or through torch.compile."""
    return torch_step(work, optimize(work.networks[form], compile=compiled))


def compiled_step(work: Workload, form: str, *, tails: str | None = None) -> Function:
    """Run a network through torch.compile, its residual tails by a backend."""
    return torch_step(work, torch.compile(work.networks[form], dynamic=False), tails=tails)  # pyright: ignore[reportArgumentType]


def torch_step(work: Workload, model: torch.nn.Module, *, tails: str | None = None) -> Function:
    """Return the step of the workload's mode for any module."""
    if work.settings.mode == "inference":
        return InferenceStep(model, (work.images,), tails)
    autocast = AUTOCAST[work.settings.dtype]
    return TrainingStep(model, (work.images,), cross_entropy_of(work.labels), tails=tails, autocast=autocast)


EXPORT = dict.fromkeys(("onnx", "onnxscript"), "'senet[export]'")
FILE_ENGINE: dict[str, Any] = {"modes": ("inference",), "devices": ("cpu",)}
ORT: dict[str, Any] = FILE_ENGINE | {"dtypes": ("fp32",), "needs": EXPORT | {"onnxruntime": "'senet[export]'"}}
ORT_CUDA: dict[str, Any] = ORT | {"devices": ("cuda",)}
OPENVINO = FILE_ENGINE | {"dtypes": ("fp32", "bf16"), "needs": EXPORT | {"openvino": "'senet[export,bench]'"}}

ENGINES: dict[str, Engine] = {
    "eager": Engine(partial(network_step, tails="reference")),
    "fused": Engine(network_step),
    "optimised": Engine(optimised_step, modes=("inference",)),
    "optimised-compiled": Engine(partial(optimised_step, compiled=True), modes=("inference",)),
    "compiled": Engine(partial(compiled_step, tails="reference")),
    "compiled-fused": Engine(compiled_step),
    "onnxruntime": Engine(partial(onnxruntime_step, optimised=True), **ORT),
    "onnxruntime-exported": Engine(partial(onnxruntime_step, optimised=False), **ORT),
    "onnxruntime-cuda": Engine(partial(onnxruntime_cuda_step, optimised=True), check=cuda_provider, **ORT_CUDA),
    "openvino": Engine(partial(openvino_step, optimised=True), **OPENVINO),
    "openvino-exported": Engine(partial(openvino_step, optimised=False), **OPENVINO),
    **{
        name: Engine(partial(peer_step, peer, torch_step), needs={name: name}, check=partial(peer_name, peer))
        for name, peer in PEERS.items()
    },
}

DEFAULT = {"training": ("eager", "fused"), "inference": ("eager", "optimised")}
"""The engines of each mode where nobody names any."""


def check_engines(names: Sequence[str], settings: Settings) -> None:
    """Raise UsageError, naming what to install or to leave out, unless all engines can run so on this machine."""
    for name in names:
        check_choice("engine", name, tuple(ENGINES))
        engine, device = ENGINES[name], torch.device(settings.device).type
        for what, value, allowed in (
            ("mode", settings.mode, engine.modes),
            ("dtype", settings.dtype, engine.dtypes),
            ("device", device, engine.devices or (device,)),
        ):
            if value not in allowed:
                raise UsageError(f"the engine {name!r} has no {what} {value!r}; it has: {', '.join(allowed)}")
        for module, package in engine.needs.items():
            if find_spec(module) is None:
                raise UsageError(f"the engine {name!r} needs {module}, which is not installed: pip install {package}")
    if twice := {name for name in names if names.count(name) > 1}:
        raise UsageError(f"engines are named twice: {', '.join(sorted(twice))}")


def packages_of(names: Sequence[str]) -> list[str]:
    """Return the libraries whose versions count for these engines."""
    return list(dict.fromkeys(module for name in names for module in ENGINES[name].needs))


def recalibrated(work: Workload) -> str:
    """Return the form that is compared with the plain one."""
    return next(form for form in work.forms if form != PLAIN_FORM)
