"""Insert blocks into a network, where the papers put them or by a plan."""

from collections.abc import Collection
from dataclasses import replace
from typing import Any, Literal

from torch import nn

from senet.errors import UsageError
from senet.insertion.apply import apply
from senet.insertion.history import plans_of, set_plans
from senet.insertion.plan import InsertPlan
from senet.insertion.sites import find_sites, refuse_wrapped
from senet.insertion.written import INITS
from senet.spec import BlockSpec, check_choice


def insert(
    model: nn.Module,
    block: str | BlockSpec | InsertPlan = "se",
    *,
    example_input: Any = None,
    placement: str = "standard",
    stages: Collection[int] | None = None,
    init: Literal["paper", "identity"] = "paper",
    existing: Literal["skip", "add"] = "skip",
    at: str | type[nn.Module] | None = None,
    parts: Collection[str] | None = None,
) -> InsertPlan:
    """Put blocks into a network, in place, where the papers put them or where a plan says.

    The plan is checked as a whole before anything changes; afterwards every block is proved to be on the path, or everything is undone.
    Blocks take device, type, memory format and training flag from their hosts. Make optimisers, and wrap the network, afterwards.

    Args:
        model: any network.
        block: a kind of block, a BlockSpec, or a plan from `find_sites`, from an earlier `insert` or from a checkpoint's metadata.
        example_input: a tensor or a tuple of arguments; None = an image as the network seems to want it.
        placement: see `find_sites`; a plan has its own, as it has stages, existing and at.
        stages: see `find_sites`.
        init: "paper" draws the blocks' weights as for training from scratch; "identity" leaves the network's outputs as they are, so that
            a trained network goes on from where it was. A plan that was inserted before has its own.
        existing: see `find_sites`.
        at: see `find_sites`.
        parts: see `find_sites`.

    Returns:
        The plan as it was carried out, for `rename_keys` and for the metadata of checkpoints.

    Raises:
        UsageError: if the plan cannot be carried out; the network is then as it was.
    """
    check_choice("init", init, INITS)
    refuse_wrapped(model)
    if isinstance(block, InsertPlan):
        if (placement, stages, existing, at, parts) != ("standard", None, "skip", None, None):
            given = "placement, stages, existing, at and parts"
            raise UsageError(f"a plan says itself where its blocks go: leave out {given}, or find_sites anew")
        plan = block
    else:
        _refuse_meta(model)
        chosen: dict[str, Any] = {"placement": placement, "stages": stages, "existing": existing, "at": at, "parts": parts}
        plan = find_sites(model, block, example_input=example_input, **chosen)
    _refuse_meta(model)
    done = apply(model, replace(plan, init=plan.init or init), example_input)
    set_plans(model, [*plans_of(model), done])
    return done


def _refuse_meta(model: nn.Module) -> None:
    if any(tensor.device.type == "meta" for tensor in (*model.parameters(), *model.buffers())):
        name = type(model).__name__
        raise UsageError(f"{name} is on the meta device and has no weights yet: model.to_empty(device=...), then load or initialise it")
