"""Random numbers as a function of where training is, so that a resumed run draws what an uninterrupted one would."""

import hashlib

import torch


def seed_of(*place: int | str) -> int:
    """Return 63 bits that depend on every part of `place`, such as (seed, "step", 1234, rank); near places give unrelated seeds."""
    text = "/".join(str(part) for part in place)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1


def seed_generators(seed: int, device: torch.device) -> None:
    """Seed the random numbers of the CPU and of a device, as `torch.manual_seed` does besides those of all devices that it knows.

    That takes longer than starting a step as a graph: for kinds of devices that are not in use it notes where it was called from.
    """
    if device.type not in ("cpu", "cuda"):
        torch.manual_seed(seed)
        return
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.default_generators[index].manual_seed(seed)
