"""Names of tensors without what a wrapper or a training module puts before them: "module.", "model.", "module.encoder_q.", "backbone."."""

from collections import Counter
from collections.abc import Iterator, Mapping

from torch import Tensor

from senet.weights.entries import AVERAGED

SHARE = 4
"""A part of a file is tried as the whole network if it has one in so many of the file's numbers."""


DEEPEST = 8
"""How many parts a prefix has at most."""


def prefixes(tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the prefixes below which the file's network may be: none first, then averages over training, then the outermost.

    Wherever a prefix stands in a module's path it counts: there is no list of names. Those of layers (numbers in a sequence) are left out.
    """
    sizes: Counter[str] = Counter()
    for name, tensor in tensors.items():
        parts = name.split(".")[:-1][:DEEPEST]
        for end in range(1, len(parts) + 1):
            if parts[end - 1].isdigit():
                break
            sizes[".".join(parts[:end]) + "."] += tensor.numel()
    total = sum(tensor.numel() for tensor in tensors.values())
    large = [prefix for prefix, size in sizes.items() if SHARE * size >= total]
    return ["", *sorted(large, key=lambda prefix: (AVERAGED.fullmatch(prefix.rstrip(".")) is None, prefix.count(".")))]


def below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def views(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield the tensors as they are, and then those below each prefix, without it."""
    for prefix in prefixes(tensors):
        yield prefix, below(tensors, prefix)


def common_prefix(names: Mapping[str, object]) -> str:
    """Return the prefix, of whole parts, that all names have: "network." for those of a module that holds a network; else ""."""
    paths = [name.split(".")[:-1] for name in names]
    shared: list[str] = []
    for parts in zip(*paths, strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return "".join(f"{part}." for part in shared)
