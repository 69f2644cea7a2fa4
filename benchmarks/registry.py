"""What can be timed: name -> the functions to run against each other, and the promise that they must keep."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast
from unittest.mock import patch

import torch
from torch import Tensor, nn

from benchmarks.direct import SEPreResNet20, training_step
from senet import backend, create_model
from senet.benchmarking.engines import packages_of
from senet.benchmarking.run import Candidates, engine_candidates
from senet.benchmarking.settings import Settings
from senet.benchmarking.workload import workload
from senet.data.batch import Batch
from senet.measuring.steps import InferenceStep, TrainingStep, cross_entropy_of
from senet.ops.tail import worthwhile
from senet.recipe import OptimRecipe, load_recipe
from senet.results.run_folder import RunFolder
from senet.spec import KINDS
from senet.training.interruption import Interruption
from senet.training.job import prepare
from senet.training.loop import train_epoch
from senet.training.progress import Progress


@dataclass(frozen=True)
class Benchmark:
    """One comparison.

    Args:
        about: what is compared.
        prepare: gives the functions, by name, ready to be timed; the first is what the others are compared with.
        limit: the ratio of process-CPU time that none may exceed; None = nothing is promised.
        packages: the libraries whose versions count.
    """

    about: str
    prepare: Callable[[], AbstractContextManager[Candidates]]
    limit: float | None = None
    packages: Sequence[str] = ()


PLAIN_STEP = {
    "data.batch_size": 128,
    "data.workers": 0,
    "optim.clip_norm": None,
    "schedule.name": "constant",
    "schedule.warmup_steps": 0,
    "training.label_smoothing": 0.0,
    "training.ema_decay": None,
    "training.save_steps": None,
}
"""Changes to a recipe after which a step is forward, cross-entropy, backward and SGD; no more."""


class OneBatch:
    """Batches of a training loop whose epochs are one and the same batch, without loading."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.batch = Batch(images, labels, [])

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        yield self.batch


@contextmanager
def loop_against_pytorch() -> Iterator[Candidates]:
    """Yield the body of our epoch loop, from a batch to its counts, and the same step in PyTorch alone on the same weights."""
    job = prepare(load_recipe("digits", PLAIN_STEP | {"model.name": "se_preresnet20"}))
    channels = job.source.input.channels
    images, labels = torch.randn(128, channels, 32, 32), torch.randint(10, (128,))
    ours = replace(job, batches=cast(Any, OneBatch(images, labels)))
    job.training_mode()
    network = job.wrap()

    direct = in_layout(SEPreResNet20(channels), job.layout)
    direct.load_state_dict(job.model.state_dict())
    step = training_step(direct, in_layout(images, job.layout), labels, sgd(direct, job.recipe.optim))
    with Progress(enabled=False).run("benchmark", epochs=1, steps=1) as bar, Interruption() as interruption:
        run = RunFolder(Path())  # the loop writes to it when it saves, which it does not here
        functions = {"pytorch": step, "senet": lambda: train_epoch(ours, network, run, bar, interruption)}
        with backend("reference"):  # fused tails round otherwise
            for function in functions.values():
                function()
        for name, tensor in direct.state_dict().items():
            torch.testing.assert_close(job.model.state_dict()[name], tensor, msg=f"the two steps differ in {name}")
        yield Candidates(functions)


@contextmanager
def blocks_in_training(name: str, size: tuple[int, ...]) -> Iterator[Candidates]:
    """Yield training steps of a plain network and of its recalibrated forms."""
    images, labels = torch.randn(size).to(memory_format=torch.channels_last), torch.randint(10, size[:1])
    functions = {}
    for form in ("plain", *KINDS):
        model = in_layout(created(name, form), torch.channels_last).train()
        functions[form] = TrainingStep(model, (images,), cross_entropy_of(labels), optimizer=sgd(model, OptimRecipe()))
    yield Candidates(functions)


@contextmanager
def blocks_in_inference(name: str, size: tuple[int, ...]) -> Iterator[Candidates]:
    """Yield forward passes of a plain network and of its recalibrated forms."""
    images = torch.randn(size).to(memory_format=torch.channels_last)
    models = {form: in_layout(created(name, form), torch.channels_last).eval() for form in ("plain", *KINDS)}
    yield Candidates({form: InferenceStep(model, (images,)) for form, model in models.items()})


@contextmanager
def activated_norms_in_training(name: str, size: tuple[int, ...]) -> Iterator[Candidates]:
    """Yield training steps of a plain network whose inner BN and ReLU are two operations each, and one; the tails are fused in both."""
    images, labels = torch.randn(size).to(memory_format=torch.channels_last), torch.randint(10, size[:1])
    step = TrainingStep(in_layout(created(name, "plain"), torch.channels_last).train(), (images,), cross_entropy_of(labels))

    def apart() -> None:
        with patch.object(worthwhile, "ACTIVATED_ON_CPU", sys.maxsize):
            step()

    yield Candidates({"BN, ReLU": apart, "in one": step})


@contextmanager
def engines_in(name: str, settings: Settings, batch: int, engines: Sequence[str], **options: Any) -> Iterator[Candidates]:
    """Yield a network and its SE form on several engines."""
    with TemporaryDirectory() as folder:
        yield engine_candidates(workload(name, settings, Path(folder), batch=batch, **options), engines)


def created(name: str, form: str) -> nn.Module:
    return create_model(name, block=None if form == "plain" else form)


def in_layout(thing: Any, layout: torch.memory_format) -> Any:
    return thing.to(memory_format=layout)


def sgd(model: nn.Module, recipe: OptimRecipe) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), recipe.lr, recipe.momentum, nesterov=recipe.nesterov, weight_decay=recipe.weight_decay)


def by_engine(about: str, name: str, mode: str, batch: int, engines: Sequence[str], *, dtype: str = "fp32", **options: Any) -> Benchmark:
    return Benchmark(about, partial(engines_in, name, Settings(mode, dtype), batch, engines, **options), packages=packages_of(engines))


CIFAR_NETWORKS = ("cifar_resnet20", "cifar_resnet56", "preresnet20", "preresnet56")
TAILS = {"resnet50": (8, "3x224x224"), **dict.fromkeys(CIFAR_NETWORKS, (128, "3x32x32"))}
"""Network -> images in a batch and their shape."""

THEIRS = {"v1_5": True, "stem_pool": "pad"}
"""What makes our ResNets those of other libraries: same shapes, same operations."""


def resnet50(about: str, batch: int, dtype: str, engines: Sequence[str]) -> Benchmark:
    words = f"ResNet-50, {batch} x 3x224x224, {dtype}: {about}"
    return by_engine(words, "resnet50", "inference", batch, engines, dtype=dtype, **THEIRS)


CIFAR, IMAGENET = (128, 3, 32, 32), (1, 3, 224, 224)
REGISTRY = {
    "training_step": Benchmark("se_preresnet20, 128 x 1x32x32: our loop against PyTorch alone", loop_against_pytorch, limit=1.05),
    **{
        f"blocks_training_{name}": Benchmark(f"{name}, 128 x 3x32x32: a training step, by block", partial(blocks_in_training, name, CIFAR))
        for name in ("cifar_resnet20", "preresnet20")
    },
    **{
        f"activated_norms_{name}": Benchmark(
            f"{name}, {size[0]} x {'x'.join(map(str, size[1:]))}: a training step, inner BN and ReLU apart or in one",
            partial(activated_norms_in_training, name, size),
        )
        for name, size in {"resnet50": (8, 3, 224, 224), "cifar_resnet20": CIFAR, "vgg11_bn": (8, 3, 64, 64)}.items()
    },
    "blocks_inference": Benchmark("resnet50, 1 x 3x224x224: a forward pass, by block", partial(blocks_in_inference, "resnet50", IMAGENET)),
    **{
        f"tail_training_{name}": by_engine(
            f"{name}, {batch} x {image}: forward and backward, by tail", name, "training", batch, ("eager", "fused")
        )
        for name, (batch, image) in TAILS.items()
    },
    **{
        f"inference_b{batch}_{dtype}": resnet50("inference forms", batch, dtype, ("optimised", "eager", "timm"))
        for dtype in ("fp32", "bf16")
        for batch in (1, 16)
    },
    **{f"peers_b{batch}_fp32": resnet50("inference", batch, "fp32", ("optimised", "compiled", "pytorchcv")) for batch in (1, 16)},
    **{
        f"onnx_{engine}_b{batch}_fp32": resnet50(f"the ONNX file in {engine}", batch, "fp32", (engine, f"{engine}-exported"))
        for engine, batch in (("openvino", 1), ("openvino", 16), ("onnxruntime", 1))
    },
}
