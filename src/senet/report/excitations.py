"""Excitation by class: the SENet paper's Fig. 6 (classes against each other) and Fig. 7 (spread within a class).

Images without classes are one class, whose mean is the mean of all.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from senet.report.document import markup
from senet.report.svg import Drawing, Scale, series, tick_label, tick_step

if TYPE_CHECKING:
    from senet.analysis.excitation import Panel

Range = tuple[float, float]

ALL_IMAGES = ("all images",)
"""Names of the groups whose gates are told apart, where images have no classes."""


def shown_panels(panels: "Sequence[Panel]", classes: tuple[str, ...], label: str = "") -> dict[str, Any]:
    """Return what the template's `panels` takes: both charts of each block, and the key of the classes.

    Args:
        panels: of one network, at least one.
        classes: names of the classes; of images without classes they do not count.
        label: what the network is called.
    """
    names, gates = group_names(panels, classes), gate_range(panels)
    return {
        "label": label,
        "key": [(series(place), names[label]) for place, label in enumerate(panels[0].classes, 1)],
        "classes": [markup(class_chart(panel, names, gates)) for panel in panels],
        "spread": [markup(spread_chart(panel, names, gates)) for panel in panels],
    }


def group_names(panels: "Sequence[Panel]", classes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the classes by which gates are told apart; those of images that have none are recorded as class 0."""
    told_apart = any(panel.weighted or list(panel.classes) != [0] for panel in panels)
    return classes if told_apart else ALL_IMAGES


def class_chart(panel: "Panel", names: Sequence[str], gates: Range) -> Drawing:
    """Draw the mean gate of each class over the channels, and the mean over all classes, if there are several, on top (Fig. 6).

    Args:
        panel: what to draw.
        names: name of every class, by label.
        gates: range of the axis, the same for all panels so that they can be compared.
    """
    several = len(panel.classes) > 1
    averages = {names[label]: curve.mean for label, curve in panel.classes.items()} | ({"all classes": panel.overall} if several else {})
    words = ", ".join(f"{name} {sum(means) / len(means):.2f}" for name, means in averages.items())
    drawing, x, y = _frame(
        panel, gates, f"Mean gate by channel{' and class' if several else ''} in {panel.name}; over its channels: {words}."
    )
    for place, curve in enumerate(panel.classes.values(), 1):
        drawing.path(_points(panel, x, y, curve.mean), class_=f"gate {series(place)}")
    if several:
        drawing.path(_points(panel, x, y, panel.overall), class_="gate all")
    return drawing


def spread_chart(panel: "Panel", names: Sequence[str], gates: Range) -> Drawing:
    """Draw the first and the last class, each with a band of one standard deviation over its images (Fig. 7)."""
    labels = list(dict.fromkeys((next(iter(panel.classes)), list(panel.classes)[-1])))
    words = ", ".join(f"{names[label]} {sum(panel.classes[label].std) / len(panel.channels):.3f}" for label in labels)
    drawing, x, y = _frame(
        panel,
        gates,
        f"Spread of the gates{' within a class' if len(panel.classes) > 1 else ''} in {panel.name}; mean standard deviation: {words}.",
    )
    drawing.window(x, y)
    for label in labels:
        curve, place = panel.classes[label], list(panel.classes).index(label) + 1
        upper = _points(panel, x, y, [mean + std for mean, std in zip(curve.mean, curve.std, strict=True)])
        lower = _points(panel, x, y, [mean - std for mean, std in zip(curve.mean, curve.std, strict=True)])
        drawing.path([*upper, *reversed(lower)], closed=True, class_=f"band {series(place)}")
        drawing.path(_points(panel, x, y, curve.mean), class_=f"gate {series(place)}")
    drawing.end_window()
    return drawing


def gate_range(panels: Sequence["Panel"]) -> Range:
    """Return 0..1, or what the gates need when they leave it (tanh, ReLU)."""
    means = [value for panel in panels for curve in panel.classes.values() for value in curve.mean]
    return min(0.0, *means), max(1.0, *means)


def _frame(panel: "Panel", gates: Range, alternative: str) -> tuple[Drawing, Scale, Scale]:
    drawing = Drawing(320, 214, alternative)
    x = Scale(panel.channels[0], max(panel.channels[-1], panel.channels[0] + 1), 34, 312)
    y = Scale(*gates, 178, 28)
    drawing.text((0, 12), panel.name, class_="heading")
    step = tick_step(y.high - y.low, 4)
    for tick in y.ticks(4):
        drawing.line((x.start, y(tick)), (x.end, y(tick)), class_="grid")
        drawing.text((x.start - 7, y(tick) + 4), tick_label(tick, step), class_="tick end")
    for tick in x.ticks(4, whole=True):
        drawing.text((x(tick), 195), f"{tick:.0f}", class_="tick middle")
    drawing.text((x.end, 211), "channel", class_="tick end")
    return drawing, x, y


def _points(panel: "Panel", x: Scale, y: Scale, values: Sequence[float]) -> list[tuple[float, float]]:
    return [(x(channel), y(value)) for channel, value in zip(panel.channels, values, strict=True)]
