"""Blocks that start as the identity: outputs as before, learning from the first step."""

import pytest
import torch
from torch import nn

import senet
from senet.blocks.build import build_block
from senet.errors import UsageError
from senet.insertion.gated import Gated
from senet.spec import BlockSpec

SPECS = [
    BlockSpec("se"),
    BlockSpec("se", bias=False),
    BlockSpec("se", gate="hard_sigmoid"),
    BlockSpec("se", gate="relu"),
    BlockSpec("se", squeeze="max"),
    BlockSpec("se", squeeze="none"),
    BlockSpec("sse"),
    BlockSpec("sse", bias=False),
    BlockSpec("scse"),
    BlockSpec("scse", combine="max"),
    BlockSpec("scse", combine="concat"),
    BlockSpec("cmpe_se"),
    BlockSpec("cmpe_se", variant="pair_2x1"),
    BlockSpec("cmpe_se", variant="pair_1x1"),
    BlockSpec("cmpe_se", variant="folded_3x3"),
]


def inputs(spec: BlockSpec, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(3, 64, 5, 7, generator=generator).to(dtype) for _ in range(2 if spec.kind == "cmpe_se" else 1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_block_times_gain_changes_nothing(spec: BlockSpec, dtype: torch.dtype) -> None:
    block = build_block(spec, 64).to(dtype)
    gain = block.start_as_identity()
    x, *rest = inputs(spec, dtype)
    torch.testing.assert_close(block(x, *rest) * gain, x)


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_last_layer_learns_from_the_first_step_and_the_others_from_the_second(spec: BlockSpec) -> None:
    torch.manual_seed(0)
    block = build_block(spec, 64)
    gain = block.start_as_identity()
    x, *rest = inputs(spec)
    target = x * torch.rand(64)[:, None, None]
    optimizer = torch.optim.SGD(block.parameters(), lr=0.1)
    first, *_ = learning(block, gain, x, rest, target, optimizer)
    second, *_ = learning(block, gain, x, rest, target, optimizer)
    assert first, "no layer has a gradient at the start"
    everything = {name for name, parameter in block.named_parameters() if parameter.requires_grad}
    assert second == everything


def learning(block: nn.Module, gain: float, x: torch.Tensor, rest: list[torch.Tensor], target: torch.Tensor, optimizer: torch.optim.SGD):
    optimizer.zero_grad()
    (block(x, *rest) * gain - target).square().mean().backward()
    optimizer.step()
    return ({name for name, parameter in block.named_parameters() if parameter.grad is not None and parameter.grad.any()},)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (BlockSpec("se", gate="tanh"), "tanh is 1 only where it is saturated"),
        (BlockSpec("se", gate="relu", bias=False), "only a bias could open its gate"),
        (BlockSpec("scse", combine="multiply"), "x \\* x times its gates"),
    ],
)
def test_blocks_that_cannot_be_the_identity_say_why(spec: BlockSpec, reason: str) -> None:
    model = senet.create_model("cifar_resnet20")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(UsageError, match=f"layer1.0.bn2: .*{reason}.*init='paper'" if "bias could" not in reason else reason):
        senet.insert(model, spec, init="identity")
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert list(model.state_dict()) == list(before)


def test_gain_belongs_to_the_wrapper_and_the_plan() -> None:
    model = senet.create_model("cifar_resnet20")
    plan = senet.insert(model, "se", init="identity")
    assert {module.gain for module in model.modules() if isinstance(module, Gated)} == {2.0} == {site.gain for site in plan}
    again = senet.create_model("cifar_resnet20")
    senet.insert(again, senet.InsertPlan.from_json(plan.to_json()))
    again.load_state_dict(model.state_dict())
    images = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(again.eval()(images), model.eval()(images), rtol=0, atol=0)
