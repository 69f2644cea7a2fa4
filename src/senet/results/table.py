"""The terminal's form of a result."""

from rich.box import SIMPLE_HEAD
from rich.table import Table

from senet.measuring.numbers import change, compact, duration, factor, mean_sd, plural, signed
from senet.results.comparison import Result
from senet.results.summary import interval


def result_table(result: Result) -> Table:
    """Return one row a variant: accuracy over seeds, the paired difference, costs and their ratios to the baseline."""
    title = f"{result.recipe.name}, {plural(len(result.seeds), 'seed')}"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("variant")
    for heading in ("top-1 %", "difference", "params", "MACs", "latency", "train\nstep"):
        wraps = heading == "difference"  # few seeds that differ much have long intervals
        table.add_column(heading, justify="right", no_wrap=not wraps, min_width=14 if wraps else None)
    base = result.baseline.cost
    for variant in result.variants:
        cost = variant.cost
        figures = (
            (compact(cost.params), change(cost.params / base.params)),
            (compact(cost.macs), change(cost.macs / base.macs)),
            (duration(cost.latency.median), factor(cost.latency_ratio.median)),
            (duration(cost.step.median), factor(cost.step_ratio.median)),
        )
        difference = result.differences.get(variant.label)
        if difference is None:
            table.add_row(variant.label, mean_sd(variant.top1), "baseline", *(figure for figure, _ in figures))
        else:
            between = "no interval" if difference.low is None else interval(difference)
            cells = (f"{signed(difference.mean)}\n{between}", *(f"{figure}\n{ratio}" for figure, ratio in figures))
            table.add_row(variant.label, mean_sd(variant.top1), *cells)
    return table
