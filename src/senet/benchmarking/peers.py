"""The same networks of other libraries, by their names."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from senet.benchmarking.workload import PLAIN_FORM, Workload, prepared
from senet.errors import UsageError
from senet.measuring.counting import operations

FORM_PREFIXES = {PLAIN_FORM: "", "se": "se"}
"""Form -> what stands before a network's name in both libraries; they have no other blocks."""


@dataclass(frozen=True)
class Peer:
    """One library.

    Args:
        name: the library.
        named: called with the name of our plain network, a form's prefix and our network's options; returns its name there.
        has: whether the library has a name.
        create: makes a network for (name, classes, channels).
    """

    name: str
    named: Callable[[str, str, Mapping[str, Any]], str]
    has: Callable[[str], bool]
    create: Callable[[str, int, int], nn.Module]


def peer_name(peer: Peer, work: Workload, form: str) -> str:
    """Return the library's name of a form of the workload's network.

    Raises:
        UsageError: if it has none.
    """
    config = work.config
    name = None if form not in FORM_PREFIXES else peer.named(config.name, FORM_PREFIXES[form], config.options)
    if name is None or not peer.has(name):
        wanted = config.name if form == PLAIN_FORM else f"{form}_{config.name}"
        raise UsageError(f"{peer.name} has no network such as {wanted}: leave out the engine {peer.name!r}")
    return name


def peer_network(peer: Peer, work: Workload, form: str) -> nn.Module:
    """Make the library's network with untrained weights."""
    options = work.config.options
    return peer.create(peer_name(peer, work, form), options["num_classes"], options["in_channels"])


def peer_step(peer: Peer, step: Callable[[Workload, nn.Module], Callable[[], object]], work: Workload, form: str) -> Callable[[], object]:
    """Return the step of the library's network, on the same images."""
    return step(work, prepared(peer_network(peer, work, form), work.settings))


def operations_note(peer: Peer, work: Workload) -> str:
    """Return a remark on how many operations the library's plain network has, if not ours: then only ratios within it compare."""
    images = torch.empty_like(work.images, device="meta", dtype=torch.float32)
    theirs, ours = (
        operations(deepcopy(network).to("meta", torch.float32).eval(), images)[0].total()
        for network in (peer_network(peer, work, PLAIN_FORM), work.networks[PLAIN_FORM])
    )
    if abs(theirs / ours - 1) < 0.01:
        return ""
    return f"{peer.name}'s {work.config.name} has {theirs / 1e9:.2f} GMACs, ours {ours / 1e9:.2f} (options such as v1_5 differ)"


def _timm_has(name: str) -> bool:
    import timm

    return timm.is_model(name)


def _timm_create(name: str, classes: int, channels: int) -> nn.Module:
    import timm

    return timm.create_model(name, num_classes=classes, in_chans=channels)


def _pytorchcv_named(name: str, prefix: str, options: Mapping[str, Any]) -> str:
    """Name a network as pytorchcv does: resnet50b has its strides in the 3x3, and CIFAR's networks carry their data set."""
    if options.get("num_classes") == 10 and name.startswith(("cifar_", "preresnet")):
        return f"{prefix}{name.removeprefix('cifar_')}_cifar10"
    return f"{prefix}{name}{'b' if options.get('v1_5') else ''}"


def _pytorchcv_has(name: str) -> bool:
    from pytorchcv import model_provider

    return name in model_provider._models


def _pytorchcv_create(name: str, classes: int, channels: int) -> nn.Module:
    from pytorchcv.model_provider import get_model

    return get_model(name, num_classes=classes, in_channels=channels)


PEERS = {
    peer.name: peer
    for peer in (
        Peer("timm", lambda name, prefix, options: f"{prefix}{name}", _timm_has, _timm_create),
        Peer("pytorchcv", _pytorchcv_named, _pytorchcv_has, _pytorchcv_create),
    )
}
"""Library -> what makes its networks."""
