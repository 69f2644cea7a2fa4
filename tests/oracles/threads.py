"""The same computation with several numbers of threads."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def same_bits(compute: Callable[[], Sequence[Tensor]], counts: Sequence[int] = (1, 2, 5, 1)) -> bool:
    """Return whether a computation gives the same bits with each of these numbers of threads, which are put back afterwards."""
    before = torch.get_num_threads()
    found = []
    try:
        for threads in counts:
            torch.set_num_threads(threads)
            found.append(compute())
    finally:
        torch.set_num_threads(before)
    return all(torch.equal(one, two) for other in found[1:] for one, two in zip(found[0], other, strict=True))
