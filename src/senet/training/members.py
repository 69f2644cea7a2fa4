"""Trained networks that are asked together: where they come from, what their files say, and that they agree on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn

from senet.devices import available_device, default_device
from senet.errors import UsageError
from senet.models.create import from_pretrained
from senet.recipe import CLASSIFICATION, Recipe, build_recipe, field_path
from senet.results.run_folder import RunFolder
from senet.schema import integer, items
from senet.spec import InputSpec
from senet.tasks.registry import open_task
from senet.tasks.task import Task
from senet.userfile import in_user_file, may_run
from senet.weights.imagenet import readable_classes
from senet.weights.store import find_config, metadata_of

RECIPE_PARTS = frozenset(field.name for field in fields(Recipe))
"""Parts of a recipe; the one that has the name of a task is that task's own."""

PALETTE = items(items(integer(0, 255), 3, 3), high=256)
"""The rule for the colours of classes in a file of weights."""

Networks = nn.Module | str | Path | Sequence[nn.Module | str | Path]
"""Networks, weights files, run folders: one or several."""


@dataclass(frozen=True)
class Member:
    """A network and what its file says about it.

    Args:
        name: where it came from.
        model: the network, on its device.
        input: the images it expects; None if nothing says.
        classes: names of its classes; None if nothing says.
        recipe: what trained it, as plain data; None if nothing says.
        palette: colours to show its classes in; None if nothing says.
    """

    name: str
    model: nn.Module
    input: InputSpec | None = None
    classes: tuple[str, ...] | None = None
    recipe: Mapping[str, Any] | None = None
    palette: Sequence[Sequence[int]] | None = None

    @property
    def task(self) -> str:
        """Name of the task that it was trained for."""
        return (self.recipe or {}).get("task", CLASSIFICATION)


def choose_device(models: Networks, device: torch.device | str | None) -> torch.device:
    """Return the device asked for, else the one a network is on already, else a GPU if there is one.

    Raises:
        UsageError: if this machine does not have the device asked for.
    """
    if device is not None:
        return available_device(device)
    if isinstance(models, nn.Module):
        device = next((tensor.device for tensor in models.parameters()), None)
    return default_device() if device is None else torch.device(device)


def load_members(models: Networks, device: torch.device) -> list[Member]:
    """Load networks, weights files and run folders (their best weights).

    Raises:
        UsageError: if there are none, a file cannot be read, or the classes are not the same everywhere.
    """
    one = isinstance(models, nn.Module | str | Path)
    members = [_load(model, device) for model in ([models] if one else models)]
    if not members:
        raise UsageError("give at least one network or weights file")
    if members[0].classes is not None:
        check_classes(members, members[0].classes)
    return members


def check_classes(members: Sequence[Member], expected: Sequence[str]) -> None:
    """Raise UsageError if a network knows other classes."""
    for member in members:
        if member.classes is not None and readable_classes(member.classes) != readable_classes(tuple(expected)):
            raise UsageError(f"{member.name} knows the classes {_brief(member.classes)}, but {_brief(expected)} were expected")


def common_task(members: Sequence[Member], task: str | Task | None, changes: Mapping[str, Any] | None = None) -> Task:
    """Return the task of networks.

    Args:
        members: the networks.
        task: a task or its name; None = the one that their files name.
        changes: dotted or short fields of the task's own part of a recipe -> what they are to be, instead of what the first file says.

    Raises:
        UsageError: if their tasks differ, a user's file makes the task and was not named in this process (weights alone run no code), or a
            field is not the task's.
    """
    if task is not None and not isinstance(task, str):
        if changes:
            raise UsageError(f"{next(iter(changes))} cannot be changed of a task that is made already")
        return task
    first = members[0]
    if task is None:
        for member in members[1:]:
            if member.task != first.task:
                raise UsageError(f"{first.name} was trained for {first.task} and {member.name} for {member.task}: they cannot be averaged")
        if in_user_file(first.task) and not may_run(first.task):
            raise UsageError(
                f"{first.name} was trained for a task of {first.task}, and a file of weights is no reason to run that code: "
                f"name it yourself, --task {first.task} or task={first.task!r}"
            )
    name, own = task or first.task, {field_path(field): value for field, value in (changes or {}).items()}
    if in_user_file(name):
        return open_task(build_recipe(first.recipe or {}, own | {"task": name}))
    if foreign := next((field for field in own if not field.startswith(f"{name}.")), None):
        part = "that task has no part of the recipe for itself" if name not in RECIPE_PARTS else f"allowed are those of {name}"
        raise UsageError(f"{foreign} says nothing of how weights for {name} predict; {part}")
    parts = {name: (first.recipe or {}).get(name, {})} if name in RECIPE_PARTS else {}
    said = (first.recipe or {}).get("data", {})
    parts["data"] = {"name": "volumes", "volumes": said.get("volumes", {})} if said.get("name") == "volumes" else {}
    if first.palette is not None:
        parts["data"]["palette"] = first.palette
    return open_task(build_recipe(parts, own | {"task": name}, where=f"the recipe in {first.name}"))


def common_input(members: Sequence[Member], default: InputSpec | None = None) -> InputSpec:
    """Return the images that all networks expect; `default` stands in where one does not say.

    Raises:
        UsageError: if they differ, or nothing says.
    """
    first, *others = members
    for member in members:
        if (member.input or default) is None:
            raise UsageError(f"{member.name} does not say what images it expects; save it with save_weights(..., input=InputSpec(...))")
    for member in others:
        if (member.input or default) != (first.input or default):
            raise UsageError(f"{first.name} and {member.name} expect different images (size or normalisation) and cannot be averaged")
    wanted = first.input or default
    assert wanted is not None
    return wanted


def _load(model: nn.Module | str | Path, device: torch.device) -> Member:
    if isinstance(model, nn.Module):
        return Member(type(model).__name__, model.to(device))
    source = RunFolder.weights_of(model)
    network = from_pretrained(source, device)
    metadata, config = metadata_of(network), find_config(network)
    taken = None if config is None else config.options.get("in_channels")
    if metadata.input is not None and taken not in (None, metadata.input.channels):
        raise UsageError(
            f"{source} speaks of images of {metadata.input.channels} channels, but its network takes {taken}: the file is damaged"
        )
    palette = metadata.extra.get("palette")
    if palette is not None:
        PALETTE.check(palette, f"{source}: palette")
    return Member(str(source), network, metadata.input, metadata.classes, metadata.recipe, palette)


def _brief(names: Sequence[str]) -> str:
    return f"{', '.join(names[:3])}{', ...' if len(names) > 3 else ''} ({len(names)})"
