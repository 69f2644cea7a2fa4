"""Blocks of other libraries replaced by ours: equal outputs and gradients, and the way back for state dicts."""

import copy
from typing import Any

import monai
import pytest
import segmentation_models_pytorch as smp
import timm
import torch
import torchvision
from torch import Tensor, nn

import senet
from senet.errors import UsageError


class SmallMonai(nn.Module):
    """Layers of MONAI that recalibrate volumes."""

    def __init__(self) -> None:
        super().__init__()
        blocks: Any = monai.networks.blocks
        self.unit = blocks.SEBlock(3, 2, 8, 8, 8, r=2)
        self.layer = blocks.ChannelSELayer(3, 8, r=4, acti_type_2="tanh")
        self.residual = blocks.ResidualSELayer(3, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.residual(self.layer(self.unit(x)))


def scse(name: str, **options: Any) -> nn.Module:
    return getattr(smp, name)("resnet18", encoder_weights=None, decoder_attention_type="scse", classes=2, **options)


NETWORKS = {
    "smp/Unet": (lambda: scse("Unet", decoder_channels=(64, 32, 32, 16, 16)), (2, 3, 64, 64), 10, 0),
    "smp/UnetPlusPlus": (lambda: scse("UnetPlusPlus", decoder_channels=(32, 32, 16, 16, 16)), (2, 3, 32, 32), 22, 0),
    "monai": (SmallMonai, (2, 2, 5, 6, 7), 2, 1),
    "timm": (lambda: timm.create_model("seresnet18"), (2, 3, 64, 64), 8, 0),
    "torchvision": (lambda: torchvision.models.mobilenet_v3_small(), (2, 3, 64, 64), 9, 0),
}
"""Network -> how it is made, its input, blocks that become ours, blocks that are left."""


@pytest.fixture(params=NETWORKS)
def pair(request: pytest.FixtureRequest) -> tuple[nn.Module, nn.Module, Tensor, Any]:
    """Return the library's network, the same with our blocks, an input, and what `adopt` says."""
    make, shape, _, _ = NETWORKS[request.param]
    torch.manual_seed(0)
    theirs: nn.Module = make().double().eval()
    for parameter in theirs.parameters():
        parameter.data += 0.01 * torch.randn_like(parameter)
    ours = copy.deepcopy(theirs)
    return theirs, ours, torch.randn(shape, dtype=torch.float64), senet.adopt(ours)


def test_outputs_and_gradients_are_equal(pair: Any, request: pytest.FixtureRequest) -> None:
    theirs, ours, x, adoption = pair
    _, _, replaced, left = NETWORKS[request.node.callspec.params["pair"]]
    assert (len(adoption.blocks), len(adoption.left)) == (replaced, left)
    for network in (theirs, ours):
        network(x).square().mean().backward()
    with torch.no_grad():
        wanted = theirs(x)
        torch.testing.assert_close(ours(x), wanted, rtol=1e-12, atol=1e-12 * float(wanted.abs().max()))
    reached = {name: parameter.grad for name, parameter in theirs.named_parameters() if parameter.grad is not None}
    gradients = adoption.rename(reached, to="senet")  # smp has a block without use in its last decoder block
    scale = max(float(gradient.abs().max()) for gradient in gradients.values())
    for name, parameter in ours.named_parameters():
        if parameter.grad is None:
            assert name not in gradients
        else:
            torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-9, atol=1e-11 * scale)


def test_state_dicts_go_both_ways(pair: Any) -> None:
    theirs, ours, _, adoption = pair
    state = theirs.state_dict()
    there = adoption.rename(state, to="senet")
    assert {name: tensor.shape for name, tensor in there.items()} == {name: tensor.shape for name, tensor in ours.state_dict().items()}
    ours.load_state_dict(there)
    back = adoption.rename(ours.state_dict(), to="library")
    assert list(back) == list(state) or back.keys() == state.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in state.items())
    theirs.load_state_dict(back)


def test_a_block_with_two_names_stays_one_block() -> None:
    model = SmallMonai()
    model.again = model.layer
    state = model.state_dict()
    adoption = senet.adopt(model)
    assert model.again is model.layer
    model.load_state_dict(adoption.rename(state, to="senet"))
    assert adoption.rename(model.state_dict(), to="library").keys() == state.keys()


def test_a_checkpoint_of_smp_is_carried_on() -> None:
    """The way of a user: a trained network of smp, its blocks counted, frozen apart, and saved for smp again."""
    trained = scse("Unet").state_dict()
    model = scse("Unet").eval()
    model.load_state_dict(trained)
    adoption = senet.adopt(model)
    assert sum(isinstance(module, senet.ChannelSpatialSE) for module in model.modules()) == 10
    assert senet.profile(model, input_size=(1, 3, 64, 64)).params == sum(tensor.numel() for tensor in scse("Unet").parameters())
    senet.freeze_host(model)
    trained_now = {name.split(".")[-3] for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained_now == {"cse", "sse"}
    scse("Unet").load_state_dict(adoption.rename(model.state_dict(), to="library"))


def test_type_mode_and_frozen_weights_stay() -> None:
    model = nn.Sequential(smp.base.modules.SCSEModule(32)).to(torch.bfloat16).eval()
    model[0].cSE[1].weight.requires_grad_(False)
    senet.adopt(model)
    block: Any = model[0]
    assert block.cse.fc1.weight.dtype == torch.bfloat16
    assert not block.training
    assert not block.cse.fc1.weight.requires_grad
    assert block.cse.fc2.weight.requires_grad


def hooked() -> nn.Module:
    block = timm.layers.SEModule(32)
    block.register_forward_hook(lambda *_: None)
    return block


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: monai.networks.blocks.ResidualSELayer(2, 8), "it adds its input"),
        (lambda: monai.networks.blocks.ChannelSELayer(2, 8, acti_type_1="leakyrelu"), "it has LeakyReLU between its layers"),
        (lambda: timm.layers.SEModule(32, add_maxpool=True), "a maximum"),
        (lambda: timm.layers.SEModule(32, norm_layer=nn.BatchNorm2d), "has a norm"),
        (lambda: torchvision.ops.SqueezeExcitation(32, 8, activation=nn.SiLU), "it has SiLU between"),
        (lambda: torchvision.ops.SqueezeExcitation(32, 8, scale_activation=nn.Softmax), "its gate is Softmax"),
        (lambda: smp.base.modules.SCSEModule(8), "its bottleneck for 8 channels is empty"),
        (hooked, "it has hooks"),
    ],
)
@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors is a no-op:UserWarning")
def test_what_has_no_equal_is_left_and_said(make: Any, reason: str) -> None:
    block = make()
    model = nn.Sequential(nn.Conv2d(3, 8, 1), block)
    with pytest.raises(UsageError, match=rf"no block of another library that could be replaced \(1: {type(block).__name__}: .*{reason}"):
        senet.adopt(model)
    assert model[1] is block


def test_a_network_without_such_blocks_is_told() -> None:
    with pytest.raises(UsageError, match="SCSEModule, ChannelSELayer"):
        senet.adopt(nn.Sequential(nn.Conv2d(3, 8, 1)))
    with pytest.raises(UsageError, match="it is the whole network"):
        senet.adopt(smp.base.modules.SCSEModule(32))


def test_a_state_dict_of_another_network_is_refused() -> None:
    model = nn.Sequential(smp.base.modules.SCSEModule(32))
    adoption = senet.adopt(model)
    with pytest.raises(UsageError, match=r"0\.cSE\.1\.weight has the shape \(4, 64, 1, 1\), which is not that of this network"):
        adoption.rename({"0.cSE.1.weight": torch.zeros(4, 64, 1, 1)}, to="senet")
