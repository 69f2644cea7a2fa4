"""The parts of a training run, built from its recipe and not yet begun."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from math import prod
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from senet.data.batch import Batch
from senet.data.loaders import CorruptLog
from senet.data.placement import EvalBatches, TrainBatches, TrainingPlace, training_batches, validation_batches
from senet.data.source import DataSource
from senet.errors import UsageError, reason_of
from senet.measuring.exhaustion import is_out_of_memory
from senet.models.create import as_begun
from senet.recipe import ModelRecipe, Recipe, TrainingRecipe
from senet.surgery.duplicate import duplicate
from senet.tasks.answers import inputs_of, log_once, network_of, noise_of, open_source, takes_targets
from senet.tasks.registry import open_task
from senet.tasks.task import Task
from senet.text import message_line
from senet.training.accumulation import check_halving, check_parts
from senet.training.average import WeightAverage
from senet.training.batchnorm import freeze_batchnorm
from senet.training.compressed import as_compressed, begin_compressed, check_pruning, training_images
from senet.training.cuda_graph import check_graph
from senet.training.joint_batchnorm import join_batchnorm
from senet.training.measured import ValidationSet
from senet.training.optim import build_optimizer, can_fuse
from senet.training.processes import start_fabric
from senet.training.scaling import scaled_rate
from senet.training.schedule import Schedule
from senet.training.seeding import seed_of
from senet.training.state import TrainingState
from senet.training.step_images import images_of_step
from senet.training.unfreezing import Unfreezing, hold_statistics
from senet.userfile import with_place
from senet.weights.loaded import loaded_into

REFUSALS = (RuntimeError, ValueError, AssertionError)
"""What networks raise for images that they do not take: of torch's operators, of BatchNorm, of timm's."""

LAYOUTS = {True: torch.channels_last, False: torch.contiguous_format}
"""`training.channels_last` -> torch's name of the layout."""


def layout_of(network: nn.Module, *, channels_last: bool) -> torch.memory_format:
    """Return the memory layout of a network's weights and images, which for volumes has a name of its own."""
    if channels_last and any(parameter.ndim == 5 for parameter in network.parameters()):
        return torch.channels_last_3d
    return LAYOUTS[channels_last]


@dataclass(frozen=True)
class Job:
    """Parts of a run.

    Args:
        recipe: what is to be done.
        fabric: device, precision and processes.
        source: the images.
        batches: training batches.
        validation: validation batches.
        model: the network, on its device, unwrapped.
        average: the running average of its weights, or None.
        optimizer: SGD or AdamW, wrapped by Fabric.
        schedule: the learning rate.
        unfreezing: which parts of the network train when.
        task: what is predicted.
        corrupt: unreadable images met so far.
        state: position and counts; saves and loads all that changes.
    """

    recipe: Recipe
    fabric: Fabric
    source: DataSource
    batches: TrainBatches
    validation: EvalBatches
    model: nn.Module
    average: WeightAverage | None
    optimizer: Any
    schedule: Schedule
    unfreezing: Unfreezing
    task: Task
    corrupt: CorruptLog
    state: TrainingState

    @property
    def trained(self) -> nn.Module:
        """The network whose weights count: it is validated and saved."""
        return self.model if self.average is None else self.average.module

    @cached_property
    def layout(self) -> torch.memory_format:
        """Memory layout of images and weights."""
        return layout_of(self.model, channels_last=self.recipe.training.channels_last)

    @property
    def pixels(self) -> int:
        """Pixels of a training batch that one process takes at once."""
        shared_by = self.fabric.world_size * self.recipe.training.accumulate
        return self.recipe.data.batch_size * prod(self.source.patch or [self.source.input.size] * 2) // shared_by

    @property
    def first_frozen_epoch(self) -> int:
        """The epoch from which BatchNorm stands still."""
        return self.recipe.training.epochs - self.recipe.training.freeze_bn_epochs

    @property
    def turns(self) -> set[int]:
        """The epochs from which other parameters train than before."""
        return {self.first_frozen_epoch, *self.unfreezing.turns}

    def training_mode(self) -> None:
        """Put the network in training mode, with parts of it or BatchNorm frozen if the epoch asks for it."""
        self.model.train()
        self.unfreezing.hold(self.state.epoch)
        if self.state.epoch >= self.first_frozen_epoch:
            freeze_batchnorm(self.model)

    def wrap(self) -> nn.Module:
        """Return the network as it is called in training: under autocast, compiled, joined with other processes, as the recipe says.

        Joined processes agree here on which parameters get a gradient, so this is called anew at each of `turns`.
        """
        wrapped = self.fabric.setup_module(torch.compile(self.model) if self.recipe.training.compile else self.model)  # pyright: ignore
        if self.recipe.training.out_of_memory == "halve":
            for module in wrapped.modules():
                if isinstance(module, DistributedDataParallel):
                    module.require_forward_param_sync = False  # no process waits for another in its forward pass, see `agreed_gradients`
        return wrapped

    def unreadable(self, names: Iterable[str]) -> list[str]:
        """Take note of images that could not be read; return those that are new.

        Raises:
            DataError: if there are too many by now.
        """
        new = sorted(set(names) - self.corrupt.names)
        self.corrupt.add(new)
        return new

    def to_device(self, batch: Batch) -> Batch:
        """Return a batch on the device, its images in the recipe's layout."""
        return batch.to(self.fabric.device, self.layout)

    def close(self) -> None:
        """End the loaders' worker processes."""
        self.validation.close()
        self.batches.close()


def prepare(recipe: Recipe, begun: Mapping[str, Any] | None = None) -> Job:
    """Build all parts of a run.

    Args:
        recipe: what is to be done.
        begun: the origin of a run that goes on from a checkpoint: weights that it began from are not loaded, or fetched, again, and how its
            network is made smaller is not looked for again.

    Raises:
        UsageError: if the recipe cannot work here, or the network does not take its images.
    """
    plan = recipe.training
    check_training(plan)
    check_compress(recipe)
    check_pruning(recipe)
    task = open_task(recipe)
    source = open_source(task, recipe.data)
    fabric = start_fabric(plan.precision)
    check_graph(recipe, fabric, takes_targets=takes_targets(task))
    check_parts(plan.accumulate, recipe.data.batch_size, fabric.world_size)
    check_halving(plan, fabric.world_size)
    place = TrainingPlace(fabric.device, LAYOUTS[plan.channels_last], fabric.global_rank, fabric.world_size)
    batches = training_batches(source, recipe.data, task, place, seed=recipe.seed)
    validation = validation_batches(source, recipe.data, task, place)
    corrupt = CorruptLog(recipe.data.max_corrupt, len(source.train) + len(source.val))

    torch.manual_seed(seed_of(recipe.seed, "weights"))
    model, weights = begin_network(task, recipe.model, source, begun)
    model.to(fabric.device)
    model, compressed = _made_smaller(
        model, recipe, partial(training_images, task, source, recipe.data, fabric.device, recipe.seed), fabric, begun
    )
    model.to(memory_format=layout_of(model, channels_last=plan.channels_last))  # pyright: ignore[reportCallIssue] - torch's stubs lack it
    if plan.sync_bn and fabric.world_size > 1:
        join_batchnorm(model, fabric.device)
    average = WeightAverage(model, plan.ema_decay) if plan.ema_decay else None
    unfreezing = Unfreezing(model, recipe)
    optimizer = build_optimizer(model, recipe.optim, fused=can_fuse(recipe, fabric.device))
    scaled = scaled_rate(recipe, len(batches), min(recipe.data.batch_size, len(source.train)))
    schedule = Schedule(scaled.schedule, scaled.lr, steps_per_epoch=len(batches), epochs=plan.epochs)
    for remark in filter(None, (scaled.remark, schedule.remark)):
        log_once(remark)
    state = TrainingState(fabric, model, optimizer, schedule, average, corrupt, partial(images_of_step, source.train, batches))
    state.weights, state.compressed, state.rate, state.parts = weights, compressed, scaled.remark, plan.accumulate
    wrapped = fabric.setup_optimizers(optimizer)
    job = Job(recipe, fabric, source, batches, validation, model, average, wrapped, schedule, unfreezing, task, corrupt, state)
    check_images(job)
    return job


def _made_smaller(
    model: nn.Module, recipe: Recipe, images: Callable[[], ValidationSet], fabric: Fabric, begun: Mapping[str, Any] | None
) -> tuple[nn.Module, Mapping[str, Any] | None]:
    """Return a run's network as `model.compress` makes it, or as that once made it, and as plain data what became of it."""
    if recipe.model.compression is None:
        return model, None
    if begun is None:
        return begin_compressed(model, recipe, images, fabric)
    before = begun.get("compressed")
    if before is None:
        raise UsageError(
            "the run's origin.json does not say how its network was made smaller: put it back, or train the run from its start"
        )
    return as_compressed(model, before), before


def begin_network(
    task: Task, recipe: ModelRecipe, source: DataSource, begun: Mapping[str, Any] | None
) -> tuple[nn.Module, Mapping[str, Any] | None]:
    """Return a run's network, and as plain data the trained weights that it begins, or began, from.

    Raises:
        UsageError: if they cannot be loaded, or a user's task does not load them.
    """
    before = (begun or {}).get("weights")
    if before is not None:
        return network_of(task, as_begun(recipe, before["options"]), source), before
    model = network_of(task, recipe, source)
    loaded = loaded_into(model)
    if loaded is None and recipe.weights is not None:
        raise UsageError(
            f"{type(task).__name__}'s build leaves model.weights {recipe.weights} out: it has to make its network by "
            "senet.models.create.model_from_recipe, or model.weights has to be null"
        )
    return model, None if loaded is None else loaded.to_dict()


def check_images(job: Job) -> None:
    """Call a copy of the network as training does, on noise of the size of its images, so that no folder is begun for one that refuses.

    Raises:
        UsageError: if it does not take them.
    """
    count = min(2, job.recipe.data.batch_size // job.fabric.world_size // job.recipe.training.accumulate)
    batch = job.to_device(noise_of(job.task, job.source, count))
    copy = duplicate(job.model).train()
    hold_statistics(copy, job.unfreezing.frozen(job.recipe.training.epochs - 1))  # those that stand still throughout
    if job.first_frozen_epoch == 0:
        freeze_batchnorm(copy)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=()), job.fabric.autocast():
            copy(*inputs_of(job.task, batch.images, batch.targets))
    except REFUSALS as error:
        if is_out_of_memory(error):
            raise
        shape = " x ".join(map(str, (count, *batch.images[0].shape)))
        raise UsageError(
            message_line(
                f"{job.recipe.model.name} does not take a batch of {shape} in training: {with_place(reason_of(error), error)}; "
                "--data.image_size SIDE says how large images are, and model.name which network takes them"
            )
        ) from error


def check_training(plan: TrainingRecipe) -> None:
    """Raise UsageError for numbers that do not go together."""
    if plan.freeze_bn_epochs > plan.epochs:
        raise UsageError(f"training.freeze_bn_epochs {plan.freeze_bn_epochs} cannot exceed training.epochs {plan.epochs}")
    if plan.ema_decay is not None and not 0 < plan.ema_decay < 1:
        raise UsageError(f"training.ema_decay must be between 0 and 1, e.g. 0.999, got {plan.ema_decay}; null turns the average off")


def check_compress(recipe: Recipe) -> None:
    """Raise UsageError if a recipe makes a network smaller that is not trained."""
    if recipe.model.compression is not None and recipe.model.weights is None:
        raise UsageError(
            f"model.compress {recipe.model.compress} makes a trained network smaller: name its weights, --model.weights RUN, or train it "
            f"first with `senet compare --vary compress=none,{recipe.model.compress}`"
        )
