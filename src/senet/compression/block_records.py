"""Where the configuration of a network says how wide a block is: at a unit of the network's block, or at a site of a plan."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from torch import nn

from senet.insertion.plan import InsertPlan, Site
from senet.insertion.unit_numbers import site_units
from senet.models.create import create_recalibrated, model_from_config
from senet.models.network import ModelConfig
from senet.models.reduced import REDUCED
from senet.models.registry import split_name
from senet.spec import BlockSpec, Recalibration, options_of
from senet.weights.store import find_config


@dataclass(frozen=True)
class BlockRecord:
    """Place in a configuration that says how wide a block is.

    Args:
        stage: stage of its unit, by the numbers of the network or the plan.
        index: unit in the stage, from 1.
        site: number of the plan and of the site in it, from 0; None for a block that is the network's own.
    """

    stage: int
    index: int
    site: tuple[int, int] | None = None


def block_records(model: nn.Module) -> dict[str, BlockRecord]:
    """Return where a network's configuration says the hidden width of its blocks, by path; blocks that it says nothing of are left out.

    The network is built once more, without numbers, and with another width at every place, one that no block has: whose it is then says
    whose place that is.
    """
    config = find_config(model)
    if config is None or REDUCED in config.options:  # whose steps speak of widths as they were
        return {}
    marks: dict[int, BlockRecord] = {}
    taken = {getattr(block, "hidden", 0) for block in model.modules()}
    numbers = (number for number in count(1) if number not in taken)

    def mark(spec: BlockSpec, record: BlockRecord) -> BlockSpec:
        number = next(numbers)
        marks[number] = record
        return with_hidden(spec, number)

    plans = [InsertPlan.from_dict(plan) for plan in config.options.get("inserted", ())]
    if plans:
        marked = _rewritten(plans, lambda site, record: mark(site.block, record) if _has_width(site.block) else site.block)
        tree = ModelConfig(config.name, dict(config.options) | {"inserted": [plan.to_dict() for plan in marked]}).to_dict()
        outline = model_from_config(tree, device="meta")
    elif isinstance(spec := config.options.get("block"), BlockSpec) and _has_width(spec):
        outline = _outline(config, lambda stage, index, channels: mark(spec.at_unit(stage, index), BlockRecord(stage, index)))
    else:
        return {}
    widths = {path: getattr(block, "hidden", 0) for path, block in outline.named_modules()}
    return {path: marks[width] for path, width in widths.items() if width in marks}


def with_hidden(spec: BlockSpec, hidden: int | Mapping[Any, int]) -> BlockSpec:
    """Return a spec with this hidden width, or these, in the place of its ratio or width."""
    kept = {name: value for name, value in spec.options.items() if name not in ("reduction", "hidden")}
    return BlockSpec(spec.kind, **kept, hidden=hidden)


def written_spec(model: nn.Module, records: Mapping[str, BlockRecord], widths: Mapping[str, int]) -> BlockSpec | None:
    """Return the block, as a recipe names it, whose blocks have these hidden widths by path; None if the configuration names no block."""
    if not records.keys() >= widths.keys():
        return None
    config = find_config(model)
    assert config is not None
    plans = config.options.get("inserted", ())
    if len(plans) > 1:
        return None
    spec = InsertPlan.from_dict(plans[0]).sites[0].block if plans else config.options["block"]
    by_unit = {(records[path].stage, records[path].index): width for path, width in widths.items()}
    return with_hidden(spec, by_stage(by_unit))


def by_stage(by_unit: Mapping[tuple[int, int], int]) -> dict[int | str, int]:
    """Return widths by unit with one entry for a stage whose units have one width."""
    stages: dict[int, dict[int, int]] = {}
    for (stage, index), width in sorted(by_unit.items()):
        stages.setdefault(stage, {})[index] = width
    found: dict[int | str, int] = {}
    for stage, widths in stages.items():
        equal = len(set(widths.values())) == 1
        found |= {stage: next(iter(widths.values()))} if equal else {f"{stage}_{index}": width for index, width in widths.items()}
    return found


def write_widths(model: nn.Module, records: Mapping[str, BlockRecord], widths: Mapping[str, int]) -> None:
    """Say these hidden widths in a network's configuration, which says the widths of all these blocks."""
    config = find_config(model)
    assert config is not None
    plans = [InsertPlan.from_dict(plan) for plan in config.options.get("inserted", ())]
    options = dict(config.options)
    if plans:
        by_site = {records[path].site: width for path, width in widths.items()}
        narrowed = _rewritten(
            plans, lambda site, record: with_hidden(site.block, by_site[record.site]) if record.site in by_site else site.block
        )
        options["inserted"] = [plan.to_dict() for plan in narrowed]
    if isinstance(options.get("block"), BlockSpec) and (spec := written_spec(model, records, widths)) is not None:
        options["block"] = spec
    model.config = ModelConfig(config.name, options)  # pyright: ignore[reportArgumentType] - modules take any attribute


def _has_width(spec: BlockSpec) -> bool:
    return "hidden" in options_of(spec.kind)


def _rewritten(plans: Sequence[InsertPlan], block: Callable[[Site, BlockRecord], BlockSpec]) -> list[InsertPlan]:
    """Return plans with other blocks."""
    found = []
    for number, plan in enumerate(plans):
        records = [BlockRecord(*unit, site=(number, place)) for place, unit in enumerate(site_units(plan))]
        sites = [replace(site, block=block(site, record)) for site, record in zip(plan, records, strict=True)]
        found.append(replace(plan, sites=tuple(sites)))
    return found


def _outline(config: ModelConfig, rule: Callable[[int, int, int], BlockSpec]) -> nn.Module:
    """Return the network of a configuration, without numbers, with other blocks."""
    named = ("block", "placement", "stages", "inserted")
    options = {name: value for name, value in config.options.items() if name not in named}
    recalibration = Recalibration(rule, config.options["placement"], config.options["stages"])
    return create_recalibrated(split_name(config.name)[1], recalibration, device="meta", **options)
