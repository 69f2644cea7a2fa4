"""Pictures for pages and papers: overheads of measured networks by engine, and loss curves. The one place that draws with matplotlib."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from senet.atomic import replacing
from senet.benchmarking.result import CLOCKS, Comparison
from senet.errors import UsageError
from senet.measuring.numbers import signed
from senet.measuring.timing import Ratio

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, SOFT, GRID = "#1b1d22", "#5b606b", "#e3dfd6"
OURS, OTHERS = "#4f7fc4", "#e3b078"
"""Far apart in lightness as well as in hue, so that they differ for every reader and in print; every bar is named beside it, too."""
COLOURS = ("#5b6170", "#bd4208", "#173f94", "#00806b")
FUSED = ("fused", "compiled-fused", "optimised", "onnxruntime", "openvino", "cpp", "triton")
"""The engines that run what this package makes of a network; the others run the definition, or another library's network."""
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 10.0,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": SOFT,
    "xtick.color": SOFT,
    "ytick.color": INK,
    "svg.fonttype": "none",
    "svg.hashsalt": "senet",
}


def require_library() -> None:
    """Raise UsageError if there is nothing to draw with."""
    if find_spec("matplotlib") is None:
        raise UsageError("pictures need matplotlib, which is not installed: pip install 'senet[report]'")


def draw_overheads(comparisons: Sequence[Comparison], path: str | Path) -> None:
    """Draw one bar an engine, grouped by what was measured: how much longer the recalibrated network takes than its plain twin.

    Whiskers span the quartiles over rounds.

    Args:
        comparisons: what was measured; those that pair no functions are left out.
        path: the .png or .svg file to write or replace.

    Raises:
        UsageError: if nothing is paired, or matplotlib is missing.
    """
    groups = [(_title(comparison), _overheads(comparison)) for comparison in comparisons if comparison.pairs]
    if not groups:
        raise UsageError("there is nothing to draw: the results pair no plain function with a recalibrated one")
    require_library()
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch

    clocks = sorted({CLOCKS[comparison.clock] for comparison in comparisons if comparison.pairs})
    rows = sum(len(bars) + 1.6 for _, bars in groups)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(7.6, 1.2 + 0.25 * rows), layout="constrained")
        _bars(axes, groups)
        axes.set_xlabel(f"% more {' or '.join(clocks)} time than the plain network on the same engine; whiskers span the quartiles", x=0.4)
        keys = [Patch(color=colour) for colour in (OURS, OTHERS)]
        words = ["forms that this package makes", "the definition, and other libraries"]
        figure.legend(keys, words, loc="outside upper left", ncols=2, frameon=False, fontsize=9, handlelength=1.2)
        _write(figure, path)


def draw_losses(curves: Mapping[str, Sequence[Sequence[float]]], path: str | Path, title: str, *, first: int = 1) -> None:
    """Draw loss curves, one colour and dash a group, one line a member.

    Args:
        curves: group -> its members' losses, step by step.
        path: the .png or .svg file to write or replace.
        title: what is shown.
        first: the step of the first loss.
    """
    require_library()
    import matplotlib.pyplot as plt

    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(7.4, 3.6), layout="constrained")
        for place, (group, members) in enumerate(curves.items()):
            for index, losses in enumerate(members):
                look = {"color": COLOURS[place % len(COLOURS)], "linestyle": ("-", (0, (4, 2)), ":", "-.")[place % 4], "linewidth": 1.4}
                axes.plot(range(first, first + len(losses)), losses, label=f"{group}, {len(members)} seeds" if not index else None, **look)
        axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
        axes.set_xlabel("step")
        axes.set_ylabel("training loss")
        axes.grid(color=GRID)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        _write(figure, path)


def _overheads(comparison: Comparison) -> dict[str, Ratio]:
    return {engine: comparison.overhead(engine) for engine in comparison.pairs}


def _title(comparison: Comparison) -> str:
    kinds = sorted({name.partition(" ")[0] for name, _ in comparison.pairs.values()} - {"se"})
    return f"{comparison.about} ({', '.join(kinds)})" if kinds else comparison.about


def _bars(axes: "Axes", groups: Sequence[tuple[str, Mapping[str, Ratio]]]) -> None:
    """Draw the bars downwards: a heading a group, and below it a bar an engine with its name and its figure."""
    places, names, y = [], [], 0.0
    widest = max(max(0.0, _percent(found.high)) for _, bars in groups for found in bars.values())
    lowest = min(min(0.0, _percent(found.low)) for _, bars in groups for found in bars.values())
    pad = 0.015 * (widest - lowest or 1)
    for title, bars in groups:
        heading = {"fontweight": "bold", "fontsize": 9.5, "bbox": {"color": "white", "pad": 1.5}}
        axes.text(0.0, y, title, ha="left", va="center", transform=axes.get_yaxis_transform(), **heading)
        for engine, found in bars.items():
            y += 1
            middle, low, high = (_percent(value) for value in (found.median, found.low, found.high))
            axes.barh(y, middle, height=0.72, color=OURS if engine in FUSED else OTHERS)
            axes.plot((low, high), (y, y), color=INK, linewidth=1.2, solid_capstyle="butt", marker="|", markersize=6)
            axes.text(max(high, middle, 0) + pad, y, signed(middle, 1), va="center", fontsize=9)
            places.append(y)
            names.append(engine)
        y += 1.6
    axes.set_yticks(places, names)
    axes.set_ylim(y - 0.9, -0.8)
    axes.set_xlim(lowest - pad, widest + 8 * pad)
    axes.axvline(0, color=SOFT, linewidth=1)
    axes.grid(axis="x", color=GRID)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _percent(ratio: float) -> float:
    return (ratio - 1) * 100


def _write(figure: Any, path: str | Path) -> None:
    import matplotlib.pyplot as plt

    kind = Path(path).suffix.removeprefix(".")
    with replacing(path) as temporary:
        figure.savefig(temporary, format=kind, dpi=200, facecolor="white", metadata={"Date": None} if kind == "svg" else None)
    plt.close(figure)
