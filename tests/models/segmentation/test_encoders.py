"""U-Nets around other networks: against segmentation_models_pytorch and hand counts, on any size, trained, saved and read again."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import senet
from senet.errors import UsageError
from senet.models.create import config_of
from senet.models.encoder_request import CLASSIFIERS

LIKE_SMP = {"v1_5": True, "stem_pool": "pad"}
DEEP = ("101", "152", "154", "44", "56", "110", "164", "vgg13", "vgg19", "wrn22", "wrn28", "_2x64d", "_2x96d", "g1", "g2", "g4", "g8")
"""What names of networks have whose shorter or narrower twin is among the others."""
EVERY = [
    *(pytest.param(name, marks=pytest.mark.slow) if any(part in name for part in DEEP) else name for name in CLASSIFIERS),
    "se_resnet18",
    "cmpe_se_resnet18",
    "scse_vgg11_bn",
    "timm/resnet10t",
    "timm/convnext_atto",
    "timm/vgg11",
]


def unet(encoder: str, name: str = "unet", **options: Any) -> Any:
    return senet.create_model(name, encoder=encoder, num_classes=2, **options)


@pytest.mark.parametrize("encoder", EVERY)
def test_outputs_have_the_size_of_the_image(encoder: str) -> None:
    model = unet(encoder, device="meta", in_channels=4).eval()
    for height, width in ((96, 64), (97, 75)):
        assert model(torch.empty(1, 4, height, width, device="meta")).shape == (1, 2, height, width)
    maps = model.maps(torch.empty(1, 4, 96, 64, device="meta"))
    assert [(tensor.shape[1], 96 // tensor.shape[2]) for tensor in maps] == [(i["channels"], i["stride"]) for i in model.feature_info]


@pytest.mark.parametrize("blocks", [None, "scse"])
def test_it_is_the_unet_of_smp(blocks: str | None) -> None:
    """Its features are the same in float64; the second block that smp puts on what a decoder block is given is left out."""
    torch.manual_seed(0)
    theirs: Any = smp.Unet("resnet18", encoder_weights=None, classes=2, decoder_attention_type=blocks).double().eval()
    ours = unet("resnet18", block=blocks, reduction=16 if blocks else None, encoder_options=LIKE_SMP).double().eval()
    ours.encoder.network.load_state_dict(theirs.encoder.state_dict())
    for number, block in enumerate(theirs.decoder.blocks, start=1):
        own, skip = ours.get_submodule(f"decoder{number}"), block.conv1[0].in_channels - ours.feature_info[4 + number - 1]["channels"]
        layers = [*block.conv1, *block.conv2]
        for mine, other in zip(own.layers, layers, strict=True):
            mine.load_state_dict(other.state_dict())
        weight = block.conv1[0].weight.data  # we put the skip first
        own.layers[0].weight.data = torch.cat((weight[:, weight.shape[1] - skip :], weight[:, : weight.shape[1] - skip]), 1)
        if blocks:
            block.attention1 = nn.Identity()
            senet.load_weights(own.se, {f"{name}": tensor for name, tensor in block.attention2.attention.state_dict().items()})
    x = torch.randn(1, 3, 96, 65, dtype=torch.float64)
    with torch.no_grad():
        wanted = theirs.decoder(theirs.encoder(x))
        assert torch.allclose(ours.forward_features(x), wanted, rtol=0, atol=1e-12)


def test_parameters_are_counted_by_hand() -> None:
    encoder = sum(parameter.numel() for parameter in senet.create_model("resnet18", device="meta").parameters()) - (512 + 1) * 1000
    channels = [(512 + 256, 256), (256 + 128, 128), (128 + 64, 64), (64 + 64, 32), (32, 16)]
    decoder = sum(9 * inputs * outputs + 9 * outputs * outputs + 4 * outputs for inputs, outputs in channels)
    assert sum(p.numel() for p in unet("resnet18", device="meta").parameters()) == encoder + decoder + 16 * 2 + 2
    scse = sum(2 * width * (width // 2) + width // 2 + width + width + 1 for width in (256, 128, 64, 32, 16))
    recalibrated = unet("resnet18", "scse_unet", device="meta")
    assert sum(p.numel() for p in recalibrated.parameters()) == encoder + decoder + 16 * 2 + 2 + scse


def test_each_half_has_its_own_blocks() -> None:
    model = unet("se_resnet18", "scse_unet", stages=(7, 10), device="meta")
    kinds = {name: type(module) for name, module in model.named_modules() if name.endswith(".se")}
    assert {name for name, kind in kinds.items() if kind is senet.ChannelSpatialSE} == {"decoder1.se", "decoder4.se"}
    assert {name.split(".")[0] for name, kind in kinds.items() if kind is senet.ChannelSE} == {"encoder"}
    assert list(model.stages) == [7, 8, 9, 10, 11]
    assert model.decoder1.se.cse.hidden == 128
    other = unet("resnet18", encoder_options={"block": "sse", "stages": (5,)}, device="meta")
    assert {name for name, module in other.named_modules() if isinstance(module, senet.SpatialSE)} == {
        "encoder.network.layer4.0.se",
        "encoder.network.layer4.1.se",
    }


@pytest.mark.parametrize("encoder", ["se_resnet18", "vgg11_bn", "preresnet20", "timm/resnet10t"])
def test_gradients_reach_every_parameter(encoder: str) -> None:
    torch.manual_seed(0)
    zero = {"encoder_options": {"zero_init_last": False}} if encoder.startswith("timm/") else {}  # whose branches would learn nothing yet
    model = unet(encoder, "scse_unet", **zero, dropout=0.1, upsample="bilinear").train()
    torch.use_deterministic_algorithms(True)
    try:
        model(torch.randn(2, 3, 65, 71)).square().sum().backward()
    finally:
        torch.use_deterministic_algorithms(False)
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()] == []


@pytest.mark.parametrize(
    ("encoder", "options"),
    [
        ("se_resnet18", {"encoder_options": {"v1_5": True, "stages": (4, 5), "reduction": 8}, "widths": (64, 32, 16, 8, 8), "norm": None}),
        ("resnet18", {"encoder_options": {"block": senet.BlockSpec("scse", combine="max")}}),
        ("senet154", {"encoder_options": {"block": None}}),
        ("timm/resnet10t", {"encoder_options": {"drop_path_rate": 0.1}, "in_channels": 1}),
    ],
)
def test_what_is_saved_is_built_again(encoder: str, options: Any, tmp_path: Path) -> None:
    model = unet(encoder, "se_unet", device="meta" if encoder == "senet154" else None, **options).eval()
    config = json.loads(json.dumps(config_of(model).to_dict()))
    assert "encoder_weights" not in config["options"]
    again: Any = senet.create_model(config["name"], device="meta", **_asked(config))
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in model.state_dict().items()}
    if encoder == "senet154":
        return
    senet.save_weights(model, tmp_path / "w.safetensors")
    read = senet.from_pretrained(tmp_path / "w.safetensors")
    assert json.loads(json.dumps(config_of(read).to_dict())) == config
    x = torch.randn(1, options.get("in_channels", 3), 48, 50)
    with torch.no_grad():
        assert torch.equal(read(x), model(x))
    with pytest.raises(UsageError, match="encoder"):
        senet.load_weights(unet("preresnet20", "se_unet"), tmp_path / "w.safetensors")


def _asked(config: Any) -> dict[str, Any]:
    options = dict(config["options"])
    return {name: value for name, value in options.items() if name not in ("block", "placement", "stages")}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder": "own.py:Net"}, "an encoder is a network of the zoo"),
        ({"encoder": "torchvision/resnet18"}, "an encoder is a network of the zoo"),
        ({"encoder": "unet"}, "unet is a segmenter, no encoder"),
        ({"encoder": "timm/hf-hub:user/repo"}, "timm/NAME"),
        ({"encoder": "nosuch"}, "unknown model 'nosuch'"),
        ({"encoder": 3}, r"options\.encoder"),
        ({"encoder_options": {"weights": "/etc/hostname"}}, "unknown field 'weights'"),
        ({"encoder_options": {"pretrained": True}}, "unknown field 'pretrained'"),
        ({"encoder_options": {"num_classes": 9}}, "unknown field 'num_classes'"),
        ({"encoder_options": {"block": {"kind": "evil.py:Block"}}}, "no reason to run that code"),
        ({"encoder_weights": "/etc/hostname"}, "unknown field 'encoder_weights'"),
        ({"encoder": "timm/resnet10t", "encoder_options": {"checkpoint_path": "x"}}, "unknown field 'checkpoint_path'"),
        ({"encoder": "timm/resnet10t", "encoder_options": {"pretrained_cfg": {"url": "x"}}}, "unknown field 'pretrained_cfg'"),
        ({"widths": [9999, 9999]}, "of another shape"),
        ({"encoder": "preresnet164"}, "holds|fit|more tensors"),
    ],
)
def test_a_file_chooses_an_encoder_of_the_zoo_or_of_timm_and_its_hyperparameters(change: Any, message: str, tmp_path: Path) -> None:
    model = unet("preresnet20")
    senet.save_weights(model, tmp_path / "w.safetensors")
    config = json.loads(json.dumps(config_of(model).to_dict()))
    config["options"] |= change
    save_file(load_file(tmp_path / "w.safetensors"), tmp_path / "changed.safetensors", {"model": json.dumps(config)})
    with pytest.raises(UsageError, match=message) as raised:
        senet.from_pretrained(tmp_path / "changed.safetensors")
    assert str(raised.value).isprintable()


def test_trained_weights_bring_the_options_that_they_need(tmp_path: Path) -> None:
    trained = timm.create_model("seresnet18")
    torch.save(trained.state_dict(), tmp_path / "seresnet18.pth")
    model = unet("se_resnet18", encoder_weights=tmp_path / "seresnet18.pth").eval()
    assert config_of(model).options["encoder_options"]["v1_5"]
    assert "encoder_weights" not in config_of(model).options
    maps = timm.create_model("seresnet18", features_only=True).eval()
    maps.load_state_dict({name: tensor for name, tensor in trained.state_dict().items() if not name.startswith("fc.")})
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for own, other in zip(model.encoder(x), maps(x), strict=True):
            assert torch.allclose(own, other, atol=1e-4)


@pytest.mark.parametrize(("how", "factor"), [("repeat", 1.0), ("mean", 1.0)])
def test_kernels_are_spread_over_other_channels_aloud(how: Any, factor: float, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trained = senet.create_model("se_resnet18")
    senet.save_weights(trained, tmp_path / "w.safetensors")
    with caplog.at_level(logging.WARNING, "senet"):
        model = unet("se_resnet18", in_channels=1, encoder_weights=tmp_path / "w.safetensors", adapt_input=how)
    kernel: Tensor = trained.state_dict()["conv1.weight"]
    assert torch.allclose(model.encoder.network.conv1.weight, kernel.sum(1, keepdim=True) * factor)
    assert "conv1.weight is spread from 3 to 1 channels" in caplog.text
    with pytest.raises(UsageError):
        unet("se_resnet18", in_channels=1, encoder_weights=tmp_path / "w.safetensors", adapt_input=None)


def test_weights_that_timm_has_are_spread_aloud(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    plain = timm.create_model("resnet10t", features_only=True)
    make = timm.create_model

    def fetched(name: str, pretrained: bool = False, **options: Any) -> nn.Module:
        return plain if pretrained else make(name, pretrained=False, **options)

    monkeypatch.setattr(timm, "create_model", fetched)
    with caplog.at_level(logging.WARNING, "senet"):
        model = unet("timm/resnet10t", in_channels=1, encoder_weights=True)
    first = "conv1.0.weight"
    assert torch.allclose(model.encoder.network.state_dict()[first], plain.state_dict()[first].sum(1, keepdim=True))
    assert f"{first} is spread from 3 to 1 channels" in caplog.text
    assert torch.equal(model.encoder.network.state_dict()["layer4.0.conv1.weight"], plain.state_dict()["layer4.0.conv1.weight"])


def test_features_profile_and_new_heads() -> None:
    maps: Any = unet("preresnet20", "se_unet", features_only=True, out_indices=(2, 4))
    assert [tuple(tensor.shape[1:]) for tensor in maps(torch.randn(1, 3, 16, 12))] == [(64, 4, 3), (16, 16, 12)]
    model = unet("preresnet20", "scse_unet")
    profile = senet.profile(model, input_size=(1, 3, 32, 32))
    assert profile.params == sum(parameter.numel() for parameter in model.parameters())
    model.reset_classifier(5)
    assert model(torch.randn(1, 3, 8, 8)).shape == (1, 5, 8, 8)


def test_it_compiles() -> None:
    model, x = unet("preresnet20", "scse_unet").eval(), torch.randn(1, 3, 17, 19)
    with torch.no_grad():
        compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
        assert torch.allclose(compiled(x), model(x), atol=1e-5)


def test_onnx_runtime_computes_the_same(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = unet("se_preresnet20", "scse_unet").eval(), torch.randn(2, 3, 18, 21)
    senet.export_onnx(model, tmp_path / "unet.onnx", x)
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(tmp_path / "unet.onnx"))
    with torch.no_grad():
        wanted = model(x)
    (given,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    assert torch.allclose(torch.from_numpy(given), wanted, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": "resnet18", "widths": (8, 8)}, r"5 for the encoder resnet18, coarsest first; got \(8, 8\)"),
        ({"encoder": "resnet18", "width": 8}, "unet with an encoder has no option 'width'"),
        ({"encoder_weights": "x.pth"}, "encoder_weights are of an encoder, and none is named"),
        ({"encoder": "timm/resnet10t", "encoder_weights": "x.pth"}, "takes encoder_weights=True"),
        ({"encoder": "resnet18", "encoder_weights": True}, "a file or the name of a release"),
        ({"encoder": "resnet18", "encoder_options": {"block": lambda *_: None}}, "not a function"),
        ({"encoder": "se_resnet18", "encoder_options": {"block": "sse"}}, "already names its block"),
        ({"encoder": "resnet18", "encoder_options": {"v15": True}}, "has no option 'v15'"),
        ({"encoder": "resnet18", "encoder_options": 3}, "encoder_options are the encoder's own"),
        ({"encoder": "resnet18", "stages": (2,), "block": "se"}, "no stage 2 for a block; its stages are 7, 8, 9, 10, 11"),
        ({"encoder": "resnet18", "upsample": "cubic"}, "upsample"),
        ({"encoder": "timm/vit_tiny_patch14_dinov2"}, "timm has no model"),
    ],
)
def test_what_cannot_be_is_refused(options: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        senet.create_model("unet", device="meta", **options)


def test_other_segmenters_have_no_encoder() -> None:
    with pytest.raises(UsageError, match="sd_net has no option 'encoder'"):
        senet.create_model("sd_net", encoder="resnet18")


def test_insertion_finds_the_decoder_blocks() -> None:
    torch.manual_seed(0)
    plain, zoo, x = unet("se_preresnet20").eval(), unet("se_preresnet20", "scse_unet").eval(), torch.randn(1, 3, 16, 24)
    plan = senet.insert(plain, senet.BlockSpec("scse"), example_input=x)
    assert [site.path for site in plan] == ["decoder1", "decoder2"]
    zoo.load_state_dict({name.replace(".host.", "."): tensor for name, tensor in plain.state_dict().items()})
    with torch.no_grad():
        assert torch.equal(plain(x), zoo(x))
