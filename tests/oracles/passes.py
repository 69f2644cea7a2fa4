"""What passes return, held against their definition in float64."""

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor

LAYOUTS = {"NCHW": torch.contiguous_format, "NHWC": torch.channels_last}


def random_maps(shape: tuple[int, ...], dtype: torch.dtype, layout: str, count: int = 4) -> list[Tensor]:
    return [torch.randn(shape, dtype=torch.float64).to(dtype).to(memory_format=LAYOUTS[layout]) for _ in range(count)]


def compared(
    found: Iterable[tuple[str, Tensor | None]], exact: Mapping[str, Tensor | None], limit: float, rows: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield each result with its exact value, once their distance is within a limit, relative to the norm.

    Args:
        found: the results by name.
        exact: name -> value by the definition; a result is None where this is.
        limit: largest error.
        rows: images times channels; sums may cancel, and errors are relative to at least this norm.
    """
    for name, value in found:
        want = exact[name]
        if value is None or want is None:
            assert value is want, name
            continue
        error = float((value.double() - want).norm() / want.norm().clamp_min(rows))
        assert error < limit, (name, tuple(value.shape), error)
        yield value, want
