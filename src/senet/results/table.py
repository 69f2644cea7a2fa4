"""The terminal's form of a comparison."""

from rich.box import SIMPLE_HEAD
from rich.table import Table

from senet.measuring.numbers import mean_sd, plural
from senet.results.comparison import Result
from senet.results.summary import interval


def result_table(result: Result) -> Table:
    """Return one row a variant: the primary metric over seeds, the paired difference, costs and their ratios to the baseline."""
    metric, title = result.primary, f"{result.recipe.name}, {plural(len(result.seeds), 'seed')}"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("variant")
    for heading in (f"{metric.title} {metric.unit}".rstrip(), "difference", "params", "MACs", "latency", "train\nstep"):
        wraps = heading == "difference"  # few seeds that differ much have long intervals
        table.add_column(heading, justify="right", no_wrap=not wraps, min_width=14 if wraps else None)
    for variant in result.variants:
        values, costs = mean_sd(variant.last(metric.column), metric.decimals), variant.cost.rows(result.baseline.cost)
        difference = result.differences.get(variant.label)
        if difference is None:
            table.add_row(variant.label, values, "baseline", *(cost.figure for cost in costs))
        else:
            between = "no interval" if difference.low is None else interval(difference, metric)
            cells = (f"{metric.signed(difference.mean)}\n{between}", *(f"{cost.figure}\n{cost.words}" for cost in costs))
            table.add_row(variant.label, values, *cells)
    return table
