"""Carry state dicts between the plain and the inserted network by renaming keys."""

from collections import Counter
from collections.abc import Mapping
from typing import Literal, TypeVar

from senet.errors import UsageError
from senet.insertion.plan import InsertPlan
from senet.spec import check_choice

Value = TypeVar("Value")
DIRECTIONS = ("inserted", "plain")


def rename_keys(state_dict: Mapping[str, Value], plan: InsertPlan, *, to: Literal["inserted", "plain"]) -> dict[str, Value]:
    """Rename the keys of a state dict of the plain network for the inserted one, or the other way round.

    Nothing but names changes. On the way to "plain" the blocks' own entries are left out; on the way to "inserted" they are missing: load
    the result with strict=False, or load the plain network before inserting.

    Args:
        state_dict: entries by name.
        plan: what `senet.insert` returned, or what was saved of it.
        to: the network that the result is for.

    Raises:
        UsageError: if the state dict is not of the network that the plan starts from.
    """
    check_choice("to", to, DIRECTIONS)
    wraps = Counter(path for site in plan if site.position != "graph" for path in (site.path, *site.aliases))
    blocks = {_join(path, site.name) for site in plan if site.position == "graph" for path in (site.path, *site.aliases)}
    renamed = _inserted(state_dict, wraps, plan) if to == "inserted" else _plain(state_dict, wraps, blocks, plan)
    for site in plan:
        place = f"{site.container or site.path.partition('.')[0]}."
        if not any(key.startswith(place) for key in state_dict):
            raise UsageError(f"the state dict has no key {place}*, as {plan.model} has: it is of another network, or its keys are prefixed")
    return renamed


def _inserted(state_dict: Mapping[str, Value], wraps: Mapping[str, int], plan: InsertPlan) -> dict[str, Value]:
    wrapped = tuple(f"{path}.host." for site in plan if site.host != "Gated" for path in (site.path, *site.aliases) if path in wraps)
    renamed = {}
    for key, value in state_dict.items():
        if key.startswith(wrapped):
            raise UsageError(f"{key!r} is of the inserted network already; to='plain' leads back")
        parts, plain = [], ""
        for part in key.split("."):
            plain = _join(plain, part)
            parts += [part, *["host"] * wraps.get(plain, 0)]
        renamed[".".join(parts)] = value
    return renamed


def _plain(state_dict: Mapping[str, Value], wraps: Mapping[str, int], blocks: set[str], plan: InsertPlan) -> dict[str, Value]:
    named = ((_plain_key(key, wraps, blocks, plan), value) for key, value in state_dict.items())
    return {key: value for key, value in named if key is not None}


def _plain_key(key: str, wraps: Mapping[str, int], blocks: set[str], plan: InsertPlan) -> str | None:
    """Return a key's name in the plain network; None if it is a block's."""
    plain, wrappers = "", 0
    for part in key.split("."):
        if wrappers:
            if part == "se":
                return None
            if part != "host":
                raise UsageError(
                    f"{key!r} is not of a network with this plan for {plan.model}: {plain}.host.* and {plain}.se.* are expected"
                )
            wrappers -= 1
            continue
        plain = _join(plain, part)
        if plain in blocks:
            return None
        wrappers = wraps.get(plain, 0)
    return plain


def _join(path: str, part: str) -> str:
    return f"{path}.{part}" if path else part
