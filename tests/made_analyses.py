"""Untrained networks written as training would write them, and analyses of their gates, in seconds."""

from pathlib import Path

import torch
from torch import nn

from senet.recipe import Recipe
from senet.tasks.answers import network_of, open_source
from senet.tasks.registry import open_task
from senet.weights.store import save_weights


def written(recipe: Recipe, path: Path) -> tuple[Path, dict[str, object]]:
    """Write an untrained network of a recipe as its training would; return its file, and what a user says of its images."""
    task = open_task(recipe)
    source = open_source(task, recipe.data)
    torch.manual_seed(3)
    network = network_of(task, recipe.model, source)
    for module in network.modules():  # as if trained: else all outputs are alike
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            nn.init.normal_(module.running_mean)
    save_weights(network, path, classes=source.classes or None, input=source.input, recipe=recipe.to_dict())
    return path, {"task": recipe.task, "data.name": recipe.data.name}
