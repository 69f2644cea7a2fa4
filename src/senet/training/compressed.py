"""A trained network that is made smaller before it trains on, as `model.compress` says: by training images, never by validation images."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from lightning_fabric import Fabric
from torch import Tensor, nn

from senet.compression.pruning.prune import prune
from senet.compression.pruning.target import Target
from senet.data.source import DataSource
from senet.errors import UsageError
from senet.models.reduced import REDUCED, reduce_network
from senet.recipe import Recipe
from senet.recipe.compress import Compression
from senet.tasks.answers import losses_of, noise_of, takes_targets
from senet.tasks.task import Task
from senet.training.measured import ValidationSet
from senet.training.seeding import seed_of
from senet.weights.store import find_config

MEASURED_IMAGES = 2048
"""Training images by which a network is made smaller, at most."""


@dataclass(frozen=True)
class Smaller:
    """Network that was made smaller.

    Args:
        model: the network.
        line: what became of it, for people.
        found: the same as plain data, with what a repetition needs: the ratio that came to the target.
    """

    model: nn.Module
    line: str
    found: Mapping[str, Any]


@dataclass(frozen=True)
class ImagePairs:
    """Images with their classes, or with what the task predicts of them, as often as they are asked for.

    Args:
        images: the images.
        targets: whether they come with their targets.
    """

    images: ValidationSet
    targets: bool = False

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        """Yield batches."""
        if not self.targets:
            yield from self.images.labelled()
            return
        for batch in self.images.batches():
            there = batch.to(self.images.device)
            yield there.images, there.targets


def training_images(task: Task, source: DataSource, recipe: Recipe, fabric: Fabric) -> ValidationSet:
    """Return training images as evaluation prepares them, without augmentation: drawn by the recipe's seed, at most `MEASURED_IMAGES`."""
    count = len(source.train)
    draw = np.random.default_rng(seed_of(recipe.seed, "compress"))
    chosen = tuple(sorted(draw.permutation(count)[:MEASURED_IMAGES].tolist()))
    return ValidationSet(task, replace(source, val=source.train), recipe.data, fabric.device, chosen)


def make_smaller(model: nn.Module, compression: Compression, images: ValidationSet, seed: int = 0) -> Smaller:
    """Return a smaller network; `model` is left alone.

    Args:
        model: a trained network, on the device of the images.
        compression: how.
        images: what is measured on.
        seed: of the ranking "random".

    Raises:
        UsageError: if the network cannot be made smaller so.
    """
    return _pruned(model, compression, images, seed)


def begin_compressed(
    model: nn.Module, recipe: Recipe, images: Callable[[], ValidationSet], fabric: Fabric
) -> tuple[nn.Module, dict[str, Any]]:
    """Make a run's network smaller, in the first of its processes; the others take over what it found.

    Args:
        model: the network with its trained weights, on its device.
        recipe: of the run.
        images: gives the images to measure on.
        fabric: the run's processes.

    Returns:
        The network, and what the run's origin says of it: see `as_compressed`, and "line", what became of it in words.

    Raises:
        UsageError: if it cannot be made smaller so.
    """
    compression = recipe.model.compression
    assert compression is not None
    outcome: dict[str, Any] = {}
    smaller: Smaller | None = None
    if fabric.is_global_zero:
        try:
            smaller = make_smaller(model, compression, images(), seed_of(recipe.seed, "rank"))
            outcome = {"line": smaller.line, "steps": _steps(smaller.model)[len(_steps(model)) :], "found": dict(smaller.found)}
        except UsageError as error:
            outcome = {"error": str(error)}
    outcome = fabric.broadcast(outcome)
    if "error" in outcome:
        raise UsageError(f"model.compress {recipe.model.compress}: {outcome['error']}")
    network = as_compressed(model, outcome) if smaller is None else smaller.model
    if fabric.world_size > 1:
        network.load_state_dict(fabric.broadcast({name: tensor.cpu() for name, tensor in network.state_dict().items()}))
    return network.train(model.training), outcome


def as_compressed(model: nn.Module, before: Mapping[str, Any]) -> nn.Module:
    """Give a network the structure that `begin_compressed` once found: `steps`, see `senet.models.reduced`. Its numbers are to be loaded.

    Raises:
        UsageError: if these are another network's.
    """
    return reduce_network(model, before["steps"])


def _steps(model: nn.Module) -> list[Mapping[str, Any]]:
    config = find_config(model)
    if config is None:
        raise UsageError(
            f"{type(model).__name__} does not say how it was made, so that a smaller one could not be written down: the task has to build "
            "it by senet.models.create.model_from_recipe"
        )
    return list(config.options.get(REDUCED, ()))


def _pruned(model: nn.Module, compression: Compression, images: ValidationSet, seed: int) -> Smaller:
    task, rank = images.task, compression.rank
    if rank == "taylor" and takes_targets(task):
        raise UsageError("'taylor' calls a network with images alone, and this task's wants more: rank by 'l1'")

    def loss(outputs: Any, targets: Any) -> Tensor:
        return losses_of(task, outputs, targets)["loss"]

    example = noise_of(task, images.source, 1).to(images.device).images
    pruned = prune(
        model,
        example,
        rank=rank,
        target=Target(compression.cost, compression.amount),
        batches=ImagePairs(images, targets=rank == "taylor"),
        loss=loss,
        scope=compression.scope,
        seed=seed,
    )
    found = pruned.to_dict()
    return Smaller(
        pruned.model, pruned.sentence(), {name: found[name] for name in ("ratios", "scope", "round_to", "seed", "shares", "trials")}
    )
