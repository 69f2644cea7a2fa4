"""Keep the plans of a network in its configuration, so that they travel with its checkpoints."""

from dataclasses import replace
from typing import Any

from torch import nn

from senet.insertion.plan import InsertPlan


def plans_of(model: nn.Module) -> list[InsertPlan]:
    """Return the plans that a network's configuration holds, in the order in which they were carried out."""
    config = _config(model)
    return [] if config is None else [InsertPlan.from_dict(plan) for plan in config.options.get("inserted", ())]


def set_plans(model: nn.Module, plans: list[InsertPlan]) -> None:
    """Write the plans into the network's configuration, if it has one that this package made."""
    config = _config(model)
    if config is not None:
        options = {name: value for name, value in config.options.items() if name != "inserted"}
        model.config = replace(config, options=options | ({"inserted": [plan.to_dict() for plan in plans]} if plans else {}))


def _config(model: nn.Module) -> Any:
    config = getattr(model, "config", None)
    return config if type(config).__name__ == "ModelConfig" else None
