"""Several trained networks as one: their probabilities, over all views of an image, averaged."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from senet.errors import UsageError
from senet.models.create import from_pretrained
from senet.results.run_folder import RunFolder
from senet.spec import InputSpec
from senet.weights.imagenet import readable_classes
from senet.weights.store import metadata_of

Networks = nn.Module | str | Path | Sequence[nn.Module | str | Path]
"""Networks, weights files, run folders: one or several."""


@dataclass(frozen=True)
class Member:
    """Hold a network and what its file says about it.

    Args:
        name: where it came from.
        model: the network, on its device.
        input: the images it expects; None if nothing says.
        classes: names of its classes; None if nothing says.
    """

    name: str
    model: nn.Module
    input: InputSpec | None = None
    classes: tuple[str, ...] | None = None


class Ensemble:
    """Average the probabilities of networks over all views of an image; inside a `with` block the networks are in evaluation mode."""

    def __init__(self, models: Sequence[nn.Module]) -> None:
        self.models = models
        self._training = [model.training for model in models]

    def __enter__(self) -> "Ensemble":
        for model in self.models:
            model.eval()
        return self

    def __exit__(self, *error: object) -> None:
        for model, training in zip(self.models, self._training, strict=True):
            model.train(training)

    def __call__(self, images: Tensor) -> Tensor:
        """Map images (N, C, H, W), or views (N, V, C, H, W), to the logarithm of the mean probabilities, (N, classes)."""
        views = images[:, None] if images.ndim == 4 else images
        flat = views.flatten(0, 1)
        logs = torch.stack([model(flat).float().log_softmax(1).unflatten(0, views.shape[:2]) for model in self.models])
        return logs.logsumexp((0, 2)) - math.log(len(self.models) * views.shape[1])


def choose_device(models: Networks, device: torch.device | str | None) -> torch.device:
    """Return the device asked for, else the one a network is on already, else a GPU if there is one."""
    if device is None and isinstance(models, nn.Module):
        device = next((tensor.device for tensor in models.parameters()), None)
    return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def load_members(models: Networks, device: torch.device, *, classes: Sequence[str] | None = None) -> list[Member]:
    """Load networks, weights files and run folders (their best weights).

    Raises:
        UsageError: if there are none, a file cannot be read, or the classes are not the same everywhere.
    """
    one = isinstance(models, nn.Module | str | Path)
    members = [_load(model, device) for model in ([models] if one else models)]
    if not members:
        raise UsageError("give at least one network or weights file")
    expected = members[0].classes if classes is None else tuple(classes)
    for member in members:
        if member.classes is not None and expected is not None and readable_classes(member.classes) != readable_classes(expected):
            raise UsageError(f"{member.name} knows the classes {_brief(member.classes)}, but {_brief(expected)} were expected")
    return members


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
    metadata = metadata_of(network)
    return Member(str(source), network, metadata.input, metadata.classes)


def _brief(names: Sequence[str]) -> str:
    return f"{', '.join(names[:3])}{', ...' if len(names) > 3 else ''} ({len(names)})"
