"""Layers of blocks that something else has changed: pruned, parametrised, wrapped, quantised, with hooks."""

import copy
import warnings
from collections.abc import Callable
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

import senet
from senet import BlockSpec, build_block
from senet.blocks.layers import call, is_plain_layer, widths
from senet.errors import UsageError
from senet.ops.tail.call import residual_tail
from senet.spec import block_class

SPECS = {
    "se": BlockSpec("se", reduction=2),
    "se none": BlockSpec("se", reduction=2, squeeze="none"),
    "sse": BlockSpec("sse"),
    "scse": BlockSpec("scse"),
    "scse concat": BlockSpec("scse", combine="concat"),
    "cmpe_se": BlockSpec("cmpe_se", reduction=2, bias=True),
    "cmpe_se pair_2x1": BlockSpec("cmpe_se", variant="pair_2x1", reduction=2, maps=2, bias=True),
}
CHANNELS = 8


class LowRank(nn.Module):
    """Layer with a trainable low-rank change of its weights beside it, as adapters are."""

    def __init__(self, inner: nn.Linear) -> None:
        super().__init__()
        self.inner = inner
        self.down = nn.Linear(inner.in_features, 2, bias=False)
        self.up = nn.Linear(2, inner.out_features, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + self.up(self.down(x))


class Doubled(nn.Module):
    """Parametrisation: twice the weight."""

    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


def double(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
    return 2 * output


def own_forward(layer: nn.Linear | nn.Conv2d) -> None:
    forward = layer.forward
    layer.forward = lambda x: 2 * forward(x)  # pyright: ignore[reportAttributeAccessIssue]


CHANGES: dict[str, Callable[[nn.Module], object]] = {
    "pruned": lambda layer: prune.random_unstructured(layer, "weight", amount=0.5),
    "weight norm": lambda layer: parametrizations.weight_norm(layer).parametrizations.weight.original0.data.mul_(3),
    "spectral norm": lambda layer: parametrizations.spectral_norm(layer),
    "parametrisation": lambda layer: parametrize.register_parametrization(layer, "weight", Doubled()),
    "forward hook": lambda layer: layer.register_forward_hook(double),
    "forward of its own": own_forward,
}
"""What is done to a layer, in place; each changes what the layer returns."""


def layers(block: nn.Module) -> dict[str, nn.Module]:
    return {path: layer for path, layer in block.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)}


def inputs_of(spec: BlockSpec, dtype: torch.dtype = torch.float32, batch: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(2)
    count = 2 if block_class(spec.kind).sees_shortcut else 1
    return [torch.randn(batch, CHANNELS, 4, 3, generator=generator).to(dtype) for _ in range(count)]


def built(spec: BlockSpec) -> nn.Module:
    """Return a block in evaluation mode whose every parameter is random, so that every layer counts."""
    torch.manual_seed(0)
    block = build_block(spec, CHANNELS).eval()
    for parameter in block.parameters():
        parameter.data = torch.rand_like(parameter) + 0.1 if parameter.ndim == 1 else torch.randn_like(parameter)
    return block


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", SPECS)
def test_changes_of_every_layer_take_effect(name: str, change: str) -> None:
    spec = SPECS[name]
    for path in layers(built(spec)):
        block, inputs = built(spec), inputs_of(spec)
        before = block(*inputs)
        layer = block.get_submodule(path)
        assert is_plain_layer(layer)
        CHANGES[change](layer)
        after = block(*inputs)
        assert not is_plain_layer(block.get_submodule(path))
        assert not torch.equal(after, before), f"{path} is passed by"
        assert tail_gates(block) is None
        if change in ("pruned", "weight norm", "parametrisation"):  # the same numbers as a plain layer with these weights
            twin = built(spec)
            twin.get_submodule(path).get_parameter("weight").data = layer.weight.detach().clone()  # pyright: ignore[reportCallIssue]
            assert torch.equal(after, twin(*inputs))


def tail_gates(block: nn.Module) -> object:
    return block.tail_gates()  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize("change", CHANGES)
def test_the_fused_tail_leaves_changed_layers_to_the_definition(change: str) -> None:
    torch.manual_seed(0)
    block, norm = built(SPECS["scse"]), nn.BatchNorm2d(CHANNELS).eval()
    CHANGES[change](block.get_submodule("cse.fc2"))
    branch, shortcut = torch.randn(2, 2, CHANNELS, 4, 3)
    want = torch.relu(shortcut + block(norm(branch)))
    with senet.backend("cpp"):
        assert torch.equal(residual_tail(branch, shortcut, norm=norm, recalibrate=block), want)


@pytest.mark.parametrize("change", CHANGES)
def test_the_inference_form_leaves_changed_layers_alone(change: str) -> None:
    torch.manual_seed(0)
    model = senet.create_model("se_cifar_resnet20").eval()
    block = model.layer1[1].se  # pyright: ignore[reportIndexIssue, reportAttributeAccessIssue]
    CHANGES[change](block.fc1)
    images = torch.randn(2, 3, 16, 16)
    want = model(images)  # with a gradient, so that a pruned weight is no leaf, which torch does not copy
    optimized = senet.optimize(model)
    torch.testing.assert_close(optimized(images), want, rtol=1e-4, atol=1e-4)
    kept = {row.path: row.kept for row in optimized.report.kept}  # pyright: ignore[reportAttributeAccessIssue]
    assert "hooks, parametrisations or wrappers" in kept["layer1.1.se"]


@pytest.mark.parametrize("name", [name for name in SPECS if "none" not in name])
def test_wrapped_layers_are_called_and_trained(name: str) -> None:
    spec = SPECS[name]
    block, inputs = built(spec), inputs_of(spec)
    before = block(*inputs)
    wrapped = {path: LowRank(layer) for path, layer in layers(block).items() if isinstance(layer, nn.Linear)}
    for path, layer in wrapped.items():
        block.set_submodule(path, layer)
    out = block(*inputs)
    assert torch.equal(out, before) == (not wrapped)
    out.sum().backward()
    assert all(p.grad is not None for layer in wrapped.values() for p in layer.parameters())
    assert str(CHANNELS) in repr(block)
    with pytest.raises(UsageError, match=f"recalibrates {CHANNELS} channels"):
        block(*(x[:, :-1] for x in inputs))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("change", ["pruned", "weight norm", "parametrisation", "forward hook"])
def test_changed_layers_of_half_weights_compute_in_float32(change: str, dtype: torch.dtype) -> None:
    spec = SPECS["se"]
    block = built(spec)
    CHANGES[change](block.get_submodule("fc1"))
    half, inputs = block.to(dtype), inputs_of(spec, dtype)
    gate = half.gate(*inputs)  # pyright: ignore[reportCallIssue]
    assert gate.dtype == torch.float32
    assert all(tensor.dtype == dtype for tensor in half.state_dict().values())
    want = half.double().gate(*(x.double() for x in inputs))  # pyright: ignore[reportCallIssue]
    torch.testing.assert_close(gate.double(), want, rtol=2e-2 if change == "weight norm" else 1e-4, atol=1e-4)


def replica(module: nn.Module) -> Any:
    """Return a replica of a module as `nn.DataParallel` makes it, whose parameters are plain tensors."""
    copied = module._replicate_for_data_parallel()
    copied._former_parameters = {}
    for name, child in module._modules.items():
        copied._modules[name] = None if child is None else replica(child)
    for name, parameter in module._parameters.items():
        if parameter is None:
            copied._parameters[name] = None
        else:
            copied._former_parameters[name] = parameter.clone()
            setattr(copied, name, copied._former_parameters[name])
    return copied


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", SPECS)
def test_replicas_for_several_devices(name: str, dtype: torch.dtype) -> None:
    block, inputs = built(SPECS[name]).to(dtype), inputs_of(SPECS[name], dtype)
    copied = replica(block)
    assert list(copied.parameters()) == []
    assert torch.equal(copied(*inputs), block(*inputs))
    copied(*inputs).sum().backward()
    assert all(parameter.grad is not None for parameter in block.parameters())


@pytest.mark.parametrize("inserted", [False, True], ids=["zoo", "inserted"])
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("change", [*CHANGES, "wrapped", "hook of the block"])
def test_networks_run_changed_layers_whatever_the_backend(change: str, training: bool, inserted: bool) -> None:
    torch.manual_seed(0)
    model: Any = senet.create_model("cifar_resnet20", block=None if inserted else SPECS["se"])
    if inserted:
        senet.insert(model, SPECS["se"])
    blocks = [module for module in model.modules() if isinstance(module, senet.ChannelSE)]
    images = torch.randn(4, 3, 32, 32)
    for parameter in blocks[1].parameters():
        torch.nn.init.uniform_(parameter, 0.1, 0.5)

    def outputs(backend: Literal["reference", "cpp"]) -> Tensor:
        model.load_state_dict(state)
        with senet.backend(backend):
            return model.train(training)(images)

    state = copy.deepcopy(model.state_dict())
    before = outputs("reference").detach()
    if change == "wrapped":
        blocks[1].fc1 = LowRank(blocks[1].fc1)
    elif change == "hook of the block":
        blocks[1].register_forward_hook(double)
    else:
        CHANGES[change](blocks[1].fc1)
    state = copy.deepcopy(model.state_dict())
    want = outputs("reference")
    torch.testing.assert_close(outputs("cpp"), want, rtol=1e-3, atol=1e-3)
    if change != "wrapped":  # whose change begins at random
        assert not torch.allclose(want, before, rtol=1e-5, atol=1e-6)


def test_power_iterations_of_half_weights_are_kept() -> None:
    block = built(SPECS["se"]).bfloat16().train()
    CHANGES["spectral norm"](block.get_submodule("fc1"))
    buffers = [buffer.clone() for buffer in block.buffers()]
    block(*inputs_of(SPECS["se"], torch.bfloat16))
    assert buffers
    assert any(not torch.equal(buffer, before) for buffer, before in zip(block.buffers(), buffers, strict=True))


@pytest.mark.parametrize("name", ["se", "scse", "cmpe_se"])
def test_dynamic_quantisation(name: str) -> None:
    spec = SPECS[name]
    block, inputs = built(spec), inputs_of(spec)
    want = block(*inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantised = torch.ao.quantization.quantize_dynamic(copy.deepcopy(block), {nn.Linear}, dtype=torch.qint8)
        got = quantised(*inputs)
    assert not any(type(layer) is nn.Linear for layer in quantised.modules())
    assert str(CHANNELS) in repr(quantised)
    torch.testing.assert_close(got, want, rtol=0.1, atol=0.1)


def test_widths_are_those_of_the_weights() -> None:
    block = senet.ChannelSE(8, 2)
    block.fc1.weight = nn.Parameter(block.fc1.weight[:3, :6].detach())
    block.fc1.bias = nn.Parameter(block.fc1.bias[:3].detach())
    block.fc2.weight = nn.Parameter(block.fc2.weight[:6, :3].detach())
    block.fc2.bias = nn.Parameter(block.fc2.bias[:6].detach())
    assert (block.channels, block.hidden) == (6, 3)
    assert block(torch.randn(2, 6, 4, 4)).shape == (2, 6, 4, 4)
    with pytest.raises(UsageError, match="recalibrates 6 channels"):
        block(torch.randn(2, 8, 4, 4))
    assert widths(LowRank(nn.Linear(5, 7))) == (7, 5)
    with pytest.raises(UsageError, match="ReLU does not say how wide it is"):
        widths(nn.ReLU())


def test_a_layer_is_called_in_the_type_of_its_input() -> None:
    layer = nn.Conv2d(3, 2, 1).half()
    x = torch.randn(1, 3, 2, 2, dtype=torch.float64)
    assert torch.equal(call(layer, x), copy.deepcopy(layer).double()(x))
    assert layer.weight.dtype == torch.float16
