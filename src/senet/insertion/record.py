"""Keep the plans of a network in its configuration, so that they travel with its checkpoints."""

from dataclasses import is_dataclass, replace
from typing import Any

from torch import nn

from senet.insertion.plan import InsertPlan


def recorded(model: nn.Module) -> list[InsertPlan]:
    """Return the plans that a network's configuration holds, in the order in which they were carried out."""
    config = getattr(model, "config", None)
    options = getattr(config, "options", None) or {}
    return [InsertPlan.from_dict(plan) for plan in options.get("inserted", ())]


def record(model: nn.Module, plans: list[InsertPlan]) -> None:
    """Write the plans into the network's configuration, if it has one, so that they travel with its checkpoints."""
    config: Any = getattr(model, "config", None)
    if is_dataclass(config) and not isinstance(config, type) and hasattr(config, "options"):
        options = {name: value for name, value in config.options.items() if name != "inserted"}
        model.config = replace(config, options=options | ({"inserted": [plan.to_dict() for plan in plans]} if plans else {}))
