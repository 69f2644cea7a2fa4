"""A file's tensors made to fit a network, where what differs is not what was learned: the head, the images' channels, derived buffers."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from senet.blocks.kinds import is_block
from senet.errors import UsageError
from senet.weights.check import mismatches
from senet.weights.releases.library import COUNTER, Tensors
from senet.weights.stem import find_stem, spread_kernels

HEADS = ("fc", "head", "heads", "classifier", "last_linear", "logits", "output")
"""Usual names of a network's last layers."""

AUXILIARY = ("head_dist", "aux_classifier", "AuxLogits", "aux1", "aux2")
"""Names of heads that only training needs."""

DERIVED = ("attn_mask", "relative_position_index", "relative_coords_table", "position_ids", "num_batches_tracked")
"""Names of buffers that a network makes by itself; so are all that hold integers."""


@dataclass(frozen=True)
class Allowed:
    """Differences between a file and a network that may be bridged.

    Args:
        new_head: keep the network's head where the file has none, or one for other classes.
        adapt_input: how to spread the first kernel over images of other channels, a name of `senet.weights.stem.SPREAD`; None = not.
    """

    new_head: bool = False
    adapt_input: str | None = "repeat"


@dataclass(frozen=True)
class Bridged:
    """Tensors of a file as a network takes them, and what was done to them.

    Args:
        tensors: under the network's names.
        fresh: names that stay as they are in the network: its head, and derived buffers that the file lacks.
        dropped: the file's names that the network has no place for: derived buffers, the head of a headless network.
        stem: name of the kernel that was spread over other channels.
        channels: of the file's images and of the network's, if a kernel was spread.
    """

    tensors: Tensors
    fresh: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    stem: str | None = None
    channels: tuple[int, int] = (0, 0)

    def below(self, prefix: str) -> "Bridged":
        """Return the same for a module that holds the network, whose names begin with a prefix."""
        tensors = {prefix + name: tensor for name, tensor in self.tensors.items()}
        stem = None if self.stem is None else prefix + self.stem
        return replace(self, tensors=tensors, fresh=tuple(prefix + name for name in self.fresh), stem=stem)


def bridge(given: Tensors, wanted: Mapping[str, Tensor], network: nn.Module, allowed: Allowed) -> Bridged:
    """Return a file's tensors, changed where that is allowed; what cannot be bridged is left as it is, for the check that follows.

    Args:
        given: the file's tensors, under the network's names.
        wanted: the network's tensors.
        network: says which layer is its head and how many channels its images have.
        allowed: what may differ.
    """
    tensors = dict(given)
    unexpected = [name for name in tensors if name not in wanted]
    heads = [*(() if _heads_in(wanted, network) else heads_of(network)), *AUXILIARY]
    absent = tuple(f"{head}." for head in heads if not any(name.startswith(f"{head}.") for name in wanted))
    dropped = tuple(name for name in unexpected if name.startswith(absent) or _is_derived(name, tensors[name]))
    for name in dropped:
        del tensors[name]
    fresh = tuple(name for name, tensor in wanted.items() if name not in tensors and _is_derived(name, tensor))
    if allowed.new_head:
        fresh += _kept_head(network, tensors, wanted)
    stem, channels = _spread(tensors, wanted, network, allowed)
    tensors |= {name: torch.zeros_like(wanted[name]) if name.endswith(COUNTER) else wanted[name] for name in fresh}
    return Bridged(tensors, tuple(name for name in fresh if not name.endswith(COUNTER)), dropped, stem, channels)


def heads_of(network: nn.Module) -> list[str]:
    """Return what the head of a network may be called: what it says itself and the module around that, or else the usual names."""
    facts: Any = network
    own = getattr(facts, "head", None)
    declared = getattr(facts, "pretrained_cfg", None)
    stated = declared.get("classifier") if isinstance(declared, Mapping) else None
    said = [name for name in (own, *(stated if isinstance(stated, tuple | list) else (stated,))) if isinstance(name, str) and name]
    return [*said, *(name.partition(".")[0] for name in said)] or list(HEADS)


def check_head(text: str, given: Mapping[str, Tensor], wanted: Mapping[str, Tensor], network: nn.Module) -> None:
    """Raise UsageError if nothing but the network's head is missing in a file; `text` is what the error calls it."""
    heads = tuple(f"{head}." for head in heads_of(network))
    faults = mismatches(given, wanted)
    missing = faults.pop("missing")
    if missing and all(name.startswith(heads) for name in missing) and not any(faults.values()):
        raise UsageError(
            f"{text!r} has no head: create_model(..., weights=, num_classes=) or load_weights(..., new_head=True) gives the network a new "
            "one, and features_only=True needs none"
        )


def channels_of(network: nn.Module) -> int | None:
    """Return how many channels a network's images have, if it says so."""
    options = getattr(getattr(network, "config", None), "options", None)
    channels = options.get("in_channels") if isinstance(options, Mapping) else None
    return channels if isinstance(channels, int) else None


def _heads_in(wanted: Mapping[str, Tensor], network: nn.Module) -> list[str]:
    """Return those names of heads under which a network has tensors."""
    return [head for head in heads_of(network) if any(name.startswith(f"{head}.") for name in wanted)]


def _is_derived(name: str, tensor: Tensor) -> bool:
    return name.rpartition(".")[2] in DERIVED or not (tensor.is_floating_point() or tensor.is_complex())


def _kept_head(network: nn.Module, tensors: Tensors, wanted: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Return the names of the head's tensors if the file has none, or one for other classes; a detector says which layers that are."""
    heads = [*getattr(network, "class_layers", ())] or _heads_in(wanted, network)[:1]
    names = tuple(name for name in wanted if name.startswith(tuple(f"{head}." for head in heads)))
    return names if any(name not in tensors or tensors[name].shape != wanted[name].shape for name in names) else ()


def _spread(tensors: Tensors, wanted: Mapping[str, Tensor], network: nn.Module, allowed: Allowed) -> tuple[str | None, tuple[int, int]]:
    """Spread the first kernel over the channels of the network's images, in `tensors`, if only they differ; return its name, and both."""
    channels = channels_of(network)
    stem = None if allowed.adapt_input is None or is_block(network) else find_stem(tensors, wanted, channels)
    if stem is None or allowed.adapt_input is None:
        return None, (0, 0)
    groups = 1 if channels is None else wanted[stem].shape[1] // channels
    before, after = tensors[stem].shape[1] // groups, wanted[stem].shape[1] // groups
    tensors[stem] = spread_kernels(tensors[stem], after, allowed.adapt_input, groups)
    return stem, (before, after)
