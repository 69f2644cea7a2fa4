"""Which unit of its stage a site is: its place among the sites of the stage, from 1, in the order of execution."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from senet.errors import UsageError
from senet.insertion.plan import Site
from senet.unit_values import units_named


def site_units(sites: Iterable[Site]) -> list[tuple[int, int]]:
    """Return stage and index in it, from 1, of every site of a plan that was not narrowed."""
    seen = Counter[int]()
    found = []
    for site in sites:
        seen[site.stage] += 1
        found.append((site.stage, seen[site.stage]))
    return found


def resolved_at_units(sites: Sequence[Site]) -> tuple[Site, ...]:
    """Return the sites with the options of their blocks that differ by stage or unit resolved.

    Raises:
        UsageError: if such an option says nothing about a site, or names a unit that a stage with sites does not have.
    """
    units = site_units(sites)
    counts = Counter(stage for stage, _ in units)
    for site in sites:
        for name, value in site.block.options.items():
            for stage, index in units_named([value]):
                if index > counts[stage] > 0:
                    there = ", ".join(f"{count} in stage {number}" for number, count in sorted(counts.items()))
                    raise UsageError(f"{name} names unit {index} of stage {stage}, where no site is; there are {there}")
    return tuple(replace(site, block=site.block.at_unit(*unit)) for site, unit in zip(sites, units, strict=True))
