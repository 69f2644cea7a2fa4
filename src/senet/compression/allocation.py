"""Hidden widths of all blocks of a network out of one budget: the units that say most stay, whichever block they are in."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from senet.compression.allocated_widths import Allocation
from senet.compression.block_records import block_records
from senet.compression.budget import Budget
from senet.compression.hidden_pruning import prune_hidden
from senet.compression.hidden_ranking import HiddenRanking
from senet.compression.hidden_units import measure_hidden_units
from senet.compression.latency_budget import LatencyTrial, fewest_removed


def allocate_hidden(
    model: nn.Module, batches: Iterable[Sequence[Any]], budget: Budget | float, *, drop: bool = False, example_input: Tensor | None = None
) -> Allocation:
    """Choose the hidden widths of all blocks under one budget: the least important units of the whole network go first.

    Units that fire for no image go whatever the budget. Each block keeps one unit at least, or with `drop` none: then its last unit takes
    the block with it. Blocks of one unit of the network keep as many each, as one option sets their width.

    Args:
        model: a network with SE, scSE or CMPE-SE blocks, trained.
        batches: tuples that begin with images, (N, C, H, W), on which the units are watched.
        budget: what the network may cost; a number is one of parameters of the network, see `Budget`.
        drop: whether whole blocks may go, of a network of this package whose blocks are its own.
        example_input: (N, C, H, W) that a latency is measured on; None = the first image of the batches.

    Raises:
        UsageError: for a network without hidden units, no images, or a budget that cannot be met; it says what can.
    """
    budget = budget if isinstance(budget, Budget) else Budget(budget)
    images: list[Tensor] = []
    measured = measure_hidden_units(model, _first_kept(batches, images))
    records = block_records(model)
    ranking = HiddenRanking.of(model, measured, records, drop=drop)
    tried: tuple[LatencyTrial, ...] = ()
    if budget.cost == "latency":
        given = images[0][:1] if example_input is None else example_input

        def smaller(count: int) -> nn.Module:
            return prune_hidden(model, ranking.allocation(count, budget))

        count, tried = fewest_removed(model, smaller, given, ranking.dead, len(ranking.order), budget.amount, drop=drop)
    else:
        count = ranking.within(budget)
    return replace(ranking.allocation(count, budget), tried=tried)


def _first_kept(batches: Iterable[Sequence[Any]], kept: list[Tensor]) -> Iterable[Sequence[Any]]:
    for batch in batches:
        if not kept and len(batch[0]):
            kept.append(batch[0])
        yield batch
