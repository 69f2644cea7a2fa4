"""Make networks of timm and torchvision, and those of a user's file, for given classes and channels."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from senet.errors import UsageError, choice_error, nearest
from senet.models.class_layers import renew_class_layers
from senet.schema import brief
from senet.userfile import load_function

UNTRAINED = {"googlenet": {"aux_logits": False, "init_weights": True}, "inception_v3": {"aux_logits": False, "init_weights": True}}
"""Options of torchvision without which training returns tuples of logits, and the constructors warn."""

SEVERAL_HEADS = ("torchvision.models.detection", "torchvision.models.segmentation")
"""Packages whose networks have several layers as wide as there are classes, or convolutions for them."""

UNFETCHED = {"weights": None, "weights_backbone": None, "encoder_weights": None, "pretrained": False, "pretrained_backbone": False}
"""Parameters by which constructors are asked for trained weights, and what they are given for none: defaults fetch some."""


def from_timm(name: str, num_classes: int | None, in_channels: int, options: dict[str, Any]) -> nn.Module:
    """Make a network of timm."""
    timm_entry(name)
    import timm

    classes = {} if num_classes is None else {"num_classes": num_classes}
    arguments: dict[str, Any] = unfetched(timm.create_model) | {"in_chans": in_channels} | classes | options
    return timm.create_model(name, **arguments)


def from_torchvision(name: str, num_classes: int | None, in_channels: int, options: dict[str, Any]) -> nn.Module:
    """Make a network of torchvision; trained ones get a new head, and other channels a new first convolution."""
    entry = torchvision_entry(name)
    from torchvision import models

    options = dict(options)
    trained = options.pop("pretrained", None)
    if "weights" in options:
        raise UsageError(f"torchvision/{name} takes `pretrained`, True or the name of weights, not `weights`")
    if not trained:
        classes = {} if num_classes is None else {"num_classes": num_classes}
        defaults = unfetched(entry) | UNTRAINED.get(name, {})
        model = models.get_model(name, **(defaults | options | classes))
    else:
        published = models.get_model_weights(name).__members__
        if isinstance(trained, str) and trained.rpartition(".")[2] not in published:
            raise choice_error(f"weights of torchvision/{name}", trained, published)
        model = models.get_model(name, weights="DEFAULT" if trained is True else trained, **options)
        _drop_auxiliary(model)
        if num_classes is not None and (entry.__module__.startswith(SEVERAL_HEADS) or last_linear(model) is None):
            auxiliary = {"aux_loss": True} if getattr(model, "aux_classifier", None) is not None else {}
            renew_class_layers(model, models.get_model(name, **(unfetched(entry) | options | auxiliary | {"num_classes": num_classes})))
        elif num_classes is not None:
            _replace_head(model, num_classes)
    if in_channels != 3:
        _replace_stem(model, in_channels)
    return model


def timm_entry(name: str) -> Callable[..., nn.Module]:
    """Return timm's function for a network, NAME or NAME.TAG.

    Raises:
        UsageError: if timm is not installed, or has no such network; the nearest is named.
    """
    try:
        import timm
    except ImportError:
        raise UsageError(f"timm/{name} needs timm: pip install timm") from None
    if not timm.is_model(plain := name.partition(".")[0]):
        raise UsageError(f"timm has no model {name!r}{nearest(name, timm.list_models())}")
    return timm.model_entrypoint(plain)


def torchvision_entry(name: str) -> Callable[..., nn.Module]:
    """Return torchvision's function for a network.

    Raises:
        UsageError: if torchvision is not installed, or has no such network; the nearest is named.
    """
    try:
        from torchvision import models
    except ImportError:
        raise UsageError(f"torchvision/{name} needs torchvision: pip install torchvision") from None
    if name not in models.list_models():
        raise UsageError(f"torchvision has no model {name!r}{nearest(name, models.list_models())}")
    return models.get_model_builder(name)


def unfetched(constructor: Callable[..., Any]) -> dict[str, Any]:
    """Return the arguments with which a constructor fetches no trained weights, as far as it names parameters for them."""
    return {name: nothing for name, nothing in UNFETCHED.items() if name in inspect.signature(constructor).parameters}


def from_file(name: str, num_classes: int | None, in_channels: int, options: dict[str, Any]) -> nn.Module:
    """Run a user's file, once, and call the function or class that it is to take the network from."""
    factory = load_function(name, "network")
    parameters = inspect.signature(factory).parameters
    takes_all = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    named = [key for key, parameter in parameters.items() if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)]
    if unknown := [key for key in options if key not in named and not takes_all]:
        close = nearest(unknown[0], named)
        raise UsageError(f"{name} does not take these options: {brief(unknown[0])}{close}; it declares: {', '.join(named) or 'none'}")
    offered = {"num_classes": num_classes, "in_channels": in_channels}
    known = {key: value for key, value in offered.items() if value is not None and (takes_all or key in parameters)}
    missing = [key for key in offered if key not in known and key in parameters and parameters[key].default is inspect.Parameter.empty]
    if missing:
        raise UsageError(f"{name} needs {missing[0]}: give it, or a default in the file")
    model = factory(**known, **options)
    if isinstance(model, nn.Module):
        _check_made(name, model, {key: value for key, value in offered.items() if key not in known})
    return model


def _check_made(name: str, model: nn.Module, unasked: dict[str, int | None]) -> None:
    """Raise UsageError if a factory that was not told of classes or channels made another number of them."""
    head, stem = last_linear(model), next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
    made = {"num_classes": head[1].out_features if head else None, "in_channels": stem.in_channels if stem else None}
    for key, wanted in unasked.items():
        if wanted is not None and made[key] not in (None, wanted):
            raise UsageError(f"{name} makes a network with {key}={made[key]} where {wanted} is needed: let it take {key}")


def last_linear(model: nn.Module) -> tuple[str, nn.Linear] | None:
    """Return the last linear layer of a network and its path."""
    found = [(path, module) for path, module in model.named_modules() if isinstance(module, nn.Linear)]
    return found[-1] if found else None


def _drop_auxiliary(model: nn.Module) -> None:
    """Take out auxiliary classifiers, with which training returns several logits."""
    if getattr(model, "aux_logits", False):
        model.aux_logits = False  # pyright: ignore[reportArgumentType]
        for name in ("AuxLogits", "aux1", "aux2"):
            if hasattr(model, name):
                setattr(model, name, None)


def _replace_head(model: nn.Module, num_classes: int) -> None:
    """Replace the last linear layer by a new one for `num_classes`, where it has another width."""
    head = last_linear(model)
    if head is None:
        raise UsageError(f"{type(model).__name__} has no linear head to replace for {num_classes} classes")
    path, old = head
    if old.out_features != num_classes:
        model.set_submodule(path, nn.Linear(old.in_features, num_classes, bias=old.bias is not None))


def _replace_stem(model: nn.Module, in_channels: int) -> None:
    """Replace the first convolution by one for images of `in_channels`; for one channel its weights are the sum over the colours."""
    path, old = next((path, module) for path, module in model.named_modules() if isinstance(module, nn.Conv2d))
    keep = ("out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
    new = nn.Conv2d(in_channels, **{name: getattr(old, name) for name in keep}, bias=old.bias is not None)
    with torch.no_grad():
        if in_channels == 1:
            new.weight.copy_(old.weight.sum(1, keepdim=True))
        if new.bias is not None and old.bias is not None:
            new.bias.copy_(old.bias)
    model.set_submodule(path, new)


LIBRARIES: dict[str, Callable[[str, int | None, int, dict[str, Any]], nn.Module]] = {"timm": from_timm, "torchvision": from_torchvision}
"""Library -> what makes its network NAME for (num_classes, in_channels, options)."""

ENTRIES: dict[str, Callable[[str], Callable[..., nn.Module]]] = {"timm": timm_entry, "torchvision": torchvision_entry}
"""Library -> what finds its function for the network NAME."""
