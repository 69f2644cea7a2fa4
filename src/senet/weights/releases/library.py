"""How other libraries' files of weights become ours: the networks they released, their names for our layers, the options they imply."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from senet.errors import UsageError
from senet.spec import InputSpec

Tensors = dict[str, Tensor]
Rule = tuple[str, str | Callable[[re.Match[str]], str]]
"""A regular expression and its replacement, as `re.sub` takes them; a release's rules are applied to each name in turn."""

IMAGENET = InputSpec(size=224, resize=256, channels=3, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
"""The images that torchvision's networks and those trained like them expect."""

COUNTER = "num_batches_tracked"
"""A buffer of BatchNorm that no output depends on; files older than PyTorch 0.4.1 and those of other frameworks lack it."""


def no_conversion(tensors: Tensors) -> Tensors:
    """Return the tensors as they are."""
    return tensors


@dataclass(frozen=True)
class Release:
    """One network of a library, and how its weights become those of ours.

    Args:
        model: our name; "" for blocks, which have no name.
        name: the library's name.
        rules: from its names of tensors to ours.
        options: options of `create_model` that the network needs, where they differ from the defaults. A "block" stands for the one that
            our name says.
        input: the images it expects; None if the library does not say.
        url: where its trained weights are; None if the library published none.
        digest: the first digits of the file's SHA-256.
        convert: what remains to be done with the renamed tensors.
    """

    model: str
    name: str
    rules: tuple[Rule, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    input: InputSpec | None = IMAGENET
    url: str | None = None
    digest: str = ""
    convert: Callable[[Tensors], Tensors] = no_conversion

    def translate(self, tensors: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> Tensors:
        """Return the tensors under our names and in our shapes: a 1x1 convolution becomes the linear layer that `like` has in its place.

        Raises:
            UsageError: if two tensors get the same name.
        """
        renamed: Tensors = {}
        for key, tensor in tensors.items():
            name = rename(key, self.rules)
            if name in renamed:
                raise UsageError(f"{self.name}: {key!r} and another tensor both become {name!r}; this is not a file of {self.name}")
            renamed[name] = tensor
        converted = {name: _in_shape(tensor, like.get(name)) for name, tensor in self.convert(renamed).items()}
        counters = {name: torch.zeros((), dtype=torch.long) for name in like if name.endswith(COUNTER) and name not in converted}
        return converted | counters


@dataclass(frozen=True)
class Library:
    """Library that released weights.

    Args:
        name: the prefix of its sources: "timm" in "timm/legacy_seresnet50" and "timm:file.pth".
        releases: its networks.
        read: reads one of its files; None = safetensors files and those of `torch.save`.
        suffix: how the names of its files end, if that is its own.
    """

    name: str
    releases: tuple[Release, ...]
    read: Callable[[Path], Tensors] | None = None
    suffix: str = ""


def rename(name: str, rules: tuple[Rule, ...]) -> str:
    """Apply each rule in turn."""
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def _in_shape(tensor: Tensor, like: Tensor | None) -> Tensor:
    """Drop or add trailing axes of length 1."""
    if like is None or tensor.shape == like.shape or tensor.numel() != like.numel():
        return tensor
    shorter, longer = sorted((tuple(tensor.shape), tuple(like.shape)), key=len)
    return tensor.reshape(like.shape) if longer == shorter + (1,) * (len(longer) - len(shorter)) else tensor
