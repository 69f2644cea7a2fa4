"""Random numbers as a function of where training is, so that a resumed run draws what an uninterrupted one would."""

import hashlib


def seed_of(*place: int | str) -> int:
    """Return 63 bits that depend on every part of `place`, such as (seed, "step", 1234, rank); near places give unrelated seeds."""
    text = "/".join(str(part) for part in place)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1
