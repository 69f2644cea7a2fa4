"""How well boundaries of classes are found: the F measure within a tolerance (Csurka et al. 2013; DAVIS, Perazzi et al. 2016)."""

import numpy as np
from scipy.ndimage import binary_dilation, distance_transform_edt, generate_binary_structure


def boundary(region: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return the pixels of a region beside a known pixel that is not of it: bool of its shape. The image's edge bounds nothing."""
    return region & binary_dilation(known & ~region, generate_binary_structure(region.ndim, 1))


def boundary_score(truth: np.ndarray, predicted: np.ndarray, known: np.ndarray, tolerance: float) -> float:
    """Return F of two regions' boundaries: the harmonic mean of the shares of each that lie within the tolerance of the other.

    Two regions without boundary, which both fill the image, have 1; one with and one without have 0.

    Args:
        truth: bool, of any number of dimensions.
        predicted: bool of the same shape.
        known: where something is to be judged; both regions lie in it.
        tolerance: largest Euclidean distance, in pixels.
    """
    part = extent(truth | predicted, margin=1)
    edges = [boundary(region[part], known[part]) for region in (truth, predicted)]
    counts = [int(edge.sum()) for edge in edges]
    if 0 in counts:
        return float(counts == [0, 0])
    recall, precision = (
        (distance_transform_edt(~other)[edge] <= tolerance).sum() / count  # pyright: ignore[reportOptionalSubscript, reportOperatorIssue]
        for edge, other, count in zip(edges, reversed(edges), counts, strict=True)
    )
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def extent(region: np.ndarray, margin: int = 0) -> tuple[slice, ...]:
    """Return the smallest part of an array that holds a region, which has a pixel, with so many more on each side."""
    slices = []
    for axis in range(region.ndim):
        places = np.flatnonzero(region.any(tuple(other for other in range(region.ndim) if other != axis)))
        slices.append(slice(max(0, int(places[0]) - margin), int(places[-1]) + 1 + margin))
    return tuple(slices)
