"""A trained network that is made smaller before it trains on, as `model.compress` says: by training images, never by validation images."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from senet.compression.fold_curve import CompressionReport
from senet.compression.pruning.proof import BACKBONE_ALONE
from senet.compression.pruning.prune import prune
from senet.compression.pruning.result import Pruned
from senet.compression.pruning.target import Target
from senet.compression.tolerance import compress_within
from senet.data.source import DataSource
from senet.errors import UsageError
from senet.models.reduced import REDUCED, reduce_network
from senet.recipe import DataRecipe, Recipe
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


def training_images(task: Task, source: DataSource, recipe: DataRecipe, device: torch.device, seed: int) -> ValidationSet:
    """Return training images as evaluation prepares them, without augmentation: drawn by the seed, at most `MEASURED_IMAGES`.

    Raises:
        UsageError: if there are fewer than two.
    """
    count = len(source.train)
    if count < 2:
        raise UsageError(f"networks are made smaller by training images, and {source.name} has {count}")
    draw = np.random.default_rng(seed_of(seed, "compress"))
    chosen = tuple(sorted(draw.permutation(count)[:MEASURED_IMAGES].tolist()))
    return ValidationSet(task, replace(source, val=source.train), recipe, device, chosen)


def check_pruning(recipe: Recipe) -> None:
    """Raise UsageError if a recipe prunes its network and what does that is not installed."""
    compression = recipe.model.compression
    if compression is not None and compression.rank is not None and find_spec("torch_pruning") is None:
        raise UsageError(f"model.compress {recipe.model.compress} prunes, which needs Torch-Pruning: pip install 'senet[compress]'")


def make_smaller(model: nn.Module, compression: Compression, images: ValidationSet, seed: int = 0) -> Smaller:
    """Return a smaller network; `model` is left alone.

    Args:
        model: a trained network, on the device of the images.
        compression: how.
        images: what is measured on; folding decides by one half of them, and tells by the other what was lost.
        seed: of the ranking "random".

    Raises:
        UsageError: if the network cannot be made smaller so.
    """
    if compression.rank is None:
        folded = fold_within(model, compression.amount, images)
        return Smaller(folded.model, folded.sentence(), folded.to_dict())
    pruned = prune_to(model, compression, images, seed=seed)
    found = pruned.to_dict()
    kept = ("rank", "scope", "round_to", "seed", "ratios", "target", "shares", "trials")
    return Smaller(pruned.model, pruned.sentence(), {name: found[name] for name in kept})


def fold_within(
    model: nn.Module, tolerance: float, images: ValidationSet, progress: Callable[[int, int], object] = lambda done, total: None
) -> CompressionReport:
    """Fold the blocks of a network that it does without, see `compress_within`: half of the images decide.

    Args:
        model: the network, on the device of the images; it is not changed.
        tolerance: points of the primary metric that may be lost.
        images: what is measured on.
        progress: told how many measurements are done.
    """
    decision, held_out = images.halves()
    return compress_within(model, decision.measure, held_out.measure, decision.labelled(), tolerance, progress)


def prune_to(model: nn.Module, compression: Compression, images: ValidationSet, *, seed: int = 0, steps: int = 1) -> Pruned:
    """Prune a network to a share of its cost, see `senet.prune`.

    Args:
        model: the network, on the device of the images; it is not changed.
        compression: rank, share, cost and scope.
        images: what gates and gradients are taken from.
        seed: of the ranking "random".
        steps: how often something is cut; importance is measured anew each time.

    Raises:
        UsageError: if it cannot be pruned, or the ranking asks for what the task's network does not take.
    """
    task, rank = images.task, compression.rank
    assert rank is not None, "gates are folded"
    if rank == "taylor" and takes_targets(task):
        raise UsageError("'taylor' calls a network with images alone, and this task's wants more: rank by 'l1'")

    def loss(outputs: Any, targets: Any) -> Tensor:
        return losses_of(task, outputs, targets)["loss"]

    example = noise_of(task, images.source, compression.batch).to(images.device).images
    if not isinstance(example, Tensor):
        raise UsageError(
            f"{type(model).__name__} takes images of several sizes, and only networks of batches can be pruned: {BACKBONE_ALONE}"
        )
    return prune(
        model,
        example,
        rank=rank,
        target=Target(compression.cost, compression.amount),
        batches=ImagePairs(images, targets=rank == "taylor"),
        loss=loss,
        scope=compression.scope,
        steps=steps,
        seed=seed,
    )


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
