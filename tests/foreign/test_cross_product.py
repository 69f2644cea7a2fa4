"""Every host with every kind of block at every placement: inserted as the identity, learning, removed."""

import pytest
import torch

import senet
from foreign.hosts import HOSTS, Host
from foreign.test_contract import EXACT, ROUNDING, assert_close, blocks_of, learn, modules, run
from senet.errors import UsageError
from senet.spec import KINDS, PLACEMENTS, block_class, options_of

TAKES = {"residual": set(PLACEMENTS), "depthwise": {"standard", "inner"}}
"""Kind of unit -> the placements that it takes; the others take "standard"."""

REFUSED = {
    ("own/functional", "cmpe_se", "standard"),
    ("own/untraceable", "cmpe_se", "standard"),
    *(("own/functional", kind, "post") for kind in KINDS),
}
"""What would need the forward of the whole network rewritten, or one that cannot be traced."""


def expected(name: str, host: Host, placement: str, kind: str) -> bool:
    kinds = host.kinds & {"residual"} if kind == "cmpe_se" else host.kinds
    places = set().union(*(TAKES.get(unit, {"standard"}) for unit in kinds))
    if host.at is not None:
        places = {"standard", "pre"}
    return placement in places and (name, kind, placement) not in REFUSED


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTS)
def test_every_block_at_every_placement(name: str) -> None:
    host, model, images = HOSTS[name], HOSTS[name].make(), HOSTS[name].images()
    before, facts, state = run(model, images), modules(model), {key: value.clone() for key, value in model.state_dict().items()}
    for kind in KINDS:
        for placement in block_class(kind).placements:
            options = {"placement": placement, "existing": "skip" if host.at else "add", "at": host.at}
            if not expected(name, host, placement, kind):
                with pytest.raises(UsageError):
                    senet.insert(model, kind, **options)
                continue
            wide = {"reduction": 2} if "reduction" in options_of(kind) else {}  # one hidden unit may start with its ReLU shut
            plan = senet.insert(model, senet.BlockSpec.from_dict({"kind": kind, **wide}), init="identity", **options)
            assert senet.InsertPlan.from_json(plan.to_json()) == plan
            assert_close(run(model, images), before, ROUNDING)
            learn(model, images)
            assert [block for block in blocks_of(model) if not any(p.grad is not None and p.grad.any() for p in block.parameters())] == []
            model.zero_grad()
            senet.remove(model)
            assert_close(run(model, images), before, EXACT)
            assert modules(model) == facts
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
