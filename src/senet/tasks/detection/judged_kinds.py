"""What is judged of detections, boxes or outlines, and by which figures."""

from collections.abc import Sequence
from dataclasses import dataclass

from senet.results.metric import Metric
from senet.tasks.detection.average_precision import ANY_AREA, Precision

AP_IOUS = {"ap": None, "ap50": 0.5, "ap75": 0.75}
"""Name of an average precision -> the overlap from which on a detection is right; None = mean over ten."""


@dataclass(frozen=True)
class JudgedKind:
    """Boxes or outlines, which are judged alike.

    Args:
        prefix: what the names of their metrics begin with.
        title: what the titles of their metrics begin with.
        of: what the names of their tables end with.
        recall: whether average recall is told too.
    """

    prefix: str
    title: str
    of: str
    recall: bool

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What detections of any data set are judged by."""
        names = (*AP_IOUS, *(["ar100"] if self.recall else []))
        return tuple(Metric(f"{self.prefix}{name}", f"{self.title}{name.upper()}", "%") for name in names)

    def of_sizes(self, sizes: Sequence[str]) -> tuple[Metric, ...]:
        """Return the metrics of objects of some sizes."""
        return tuple(Metric(f"{self.prefix}ap_{size}", f"{self.title}AP {size}", "%") for size in sizes)

    def figures(self, precision: Precision, *, of: str = ANY_AREA, label: int | None = None) -> dict[str, float]:
        """Return the value of each metric in percent, see `Precision.ap`."""
        found = {f"{self.prefix}{name}": precision.ap(of=of, iou=iou, label=label) for name, iou in AP_IOUS.items()}
        return {**found, f"{self.prefix}ar100": precision.recall_of(of=of, label=label)} if self.recall else found


BOX_KIND, MASK_KIND = JudgedKind("", "", "", recall=True), JudgedKind("mask_", "mask ", " (masks)", recall=False)
