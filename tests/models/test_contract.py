"""What every network of the zoo can do: one contract class, one line a family."""

import copy
import io
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from oracles.short_networks import shorten
from senet import ChannelSE, backend, create_model, profile
from senet.models.classifier import Classifier
from senet.models.registry import PLAIN

SMALL = {
    "se_resnet18": 64,
    "se_resnet50": 64,
    "se_resnext50_32x4d": 64,
    "senet154": 64,
    "se_vgg11_bn": 32,
    "se_mobilenet": 64,
    "se_shufflenet_g3": 64,
    "se_bn_inception": 64,
    "se_inception_resnet_v2": 107,
    "se_cifar_resnet20": 32,
    "se_preresnet20": 32,
    "se_preresnet164": 16,
    "se_wrn16_8": 16,
    "se_shake_shake26_2x32d": 16,
    "se_shake_even29_2x4x64d": 16,
}
"""One network a family and unit, with the side of a small image."""

OPTIONS = {"se_inception_resnet_v2": {"counts": (1, 1, 2)}}
"""What makes a network short enough to trace."""

UNPADDED = ("se_inception_resnet_v2",)
"""Networks whose maps are smaller than the image's side over their stride, as they lose pixels at the borders."""

COVERED = {
    "se_resnet50": "se_resnext50_32x4d",
    "senet154": "se_resnext50_32x4d",
    "se_preresnet164": "se_preresnet20",
    "se_shake_even29_2x4x64d": "se_shake_shake26_2x32d",
}
"""Networks whose units have the form of another's."""

RESIDUAL = [name for name in SMALL if "zero_init_residual" in PLAIN[name.removeprefix("se_")].options]


@pytest.fixture(scope="class")
def network(name: str) -> Classifier:
    """Return the network in evaluation mode, made once: tests may call it and not change it."""
    torch.manual_seed(0)
    return create(name).eval()


@pytest.fixture
def model(network: Classifier) -> Classifier:
    """Return a copy in training mode, for tests that change it."""
    return copy.deepcopy(network).train()


@pytest.fixture(scope="class")
def short(name: str) -> Classifier:
    """Return the network with one unit of each form in evaluation mode, not to be changed."""
    torch.manual_seed(0)
    return shorten(create(name)).eval()


@pytest.fixture(scope="class")
def program(short: Classifier, name: str) -> torch.export.ExportedProgram:
    """Return the short network, exported for any number of images."""
    images = torch.randn(2, 3, SMALL[name], SMALL[name])
    return torch.export.export(short, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},))


@pytest.fixture(scope="class")
def every(name: str) -> Any:
    """Return the network that gives all its maps, in evaluation mode, not to be changed."""
    return create(name, features_only=True).eval()


@pytest.fixture
def images(name: str) -> Tensor:
    return torch.randn(2, 3, SMALL[name], SMALL[name])


@pytest.mark.parametrize("name", SMALL, scope="class")
class TestContract:
    def test_every_parameter_gets_a_gradient(self, model: Classifier, images: Tensor) -> None:
        for module in model.modules():
            if isinstance(module, ChannelSE):
                nn.init.ones_(module.fc1.bias)  # a bottleneck one unit wide may start with its ReLU shut
        model(images).square().sum().backward()
        assert [key for key, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []

    @torch.no_grad()
    def test_odd_sizes_give_logits(self, network: Classifier, name: str) -> None:
        x = torch.randn(1, 3, SMALL[name] + 5, SMALL[name] + 11)
        assert network(x).shape == (1, network.config.options["num_classes"])

    @torch.no_grad()
    def test_features_match_what_they_say(self, every: Any, name: str, images: Tensor) -> None:
        strides = [info["stride"] for info in every.feature_info]
        maps = every(images)
        larger = every(torch.randn(1, 3, images.shape[2] + 32, images.shape[3] + 32))
        assert [x.shape[1] for x in maps] == [info["channels"] for info in every.feature_info]
        assert [(big.shape[2] - x.shape[2]) * stride for big, x, stride in zip(larger, maps, strides, strict=True)] == [32] * len(maps)
        if name not in UNPADDED:
            assert [images.shape[2] // x.shape[2] for x in maps] == strides

    @torch.no_grad()
    def test_chosen_features_are_those_of_all(self, every: Any, name: str, images: Tensor) -> None:
        chosen = create(name, features_only=True, out_indices=(2,), device="meta").eval()
        chosen.load_state_dict(every.state_dict(), assign=True)
        torch.testing.assert_close(chosen(images)[0], every(images)[2], rtol=0, atol=0)

    def test_forward_is_head_of_features(self, network: Classifier, images: Tensor) -> None:
        torch.testing.assert_close(network(images), network.forward_head(network.forward_features(images)))

    @torch.no_grad()
    def test_state_dict_round_trip(self, network: Classifier, name: str, images: Tensor) -> None:
        buffer = io.BytesIO()
        torch.save(network.state_dict(), buffer)
        buffer.seek(0)
        other = create(name, device="meta").eval()
        other.load_state_dict(torch.load(buffer, weights_only=True), assign=True)
        assert torch.equal(network(images), other(images))

    @torch.no_grad()
    def test_deepcopy_is_independent(self, network: Classifier, images: Tensor) -> None:
        before = network(images)
        twin = copy.deepcopy(network)
        for tensor in twin.state_dict().values():
            tensor.zero_()
        assert torch.equal(network(images), before)
        assert not torch.equal(twin(images), before)

    def test_memory_formats_agree(self, model: Classifier, images: Tensor) -> None:
        model = model.double().eval()
        images = images.double()
        want = model(images)
        got = model.to(memory_format=torch.channels_last)(images.contiguous(memory_format=torch.channels_last))
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)

    def test_channels_last_is_kept(self, model: Classifier, images: Tensor) -> None:
        model = model.to(memory_format=torch.channels_last)
        features = model.forward_features(images.contiguous(memory_format=torch.channels_last))
        assert features.is_contiguous(memory_format=torch.channels_last)

    def test_bfloat16_autocast(self, model: Classifier, images: Tensor) -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(images)
        assert logits.dtype == torch.bfloat16
        assert logits.isfinite().all()

    def test_reset_classifier(self, model: Classifier, images: Tensor) -> None:
        model.reset_classifier(7)
        assert model(images).shape == (2, 7)
        assert model.config.options["num_classes"] == 7

    @torch.no_grad()
    def test_in_channels(self, name: str) -> None:
        model = create(name, in_channels=1, num_classes=4, device="meta").to_empty(device="cpu").eval()
        for tensor in model.state_dict().values():
            tensor.zero_()
        assert model(torch.randn(2, 1, SMALL[name], SMALL[name])).shape == (2, 4)

    def test_meta_device_allocates_nothing(self, name: str) -> None:
        assert all(p.device.type == "meta" for p in create(name, device="meta").parameters())

    def test_same_seed_same_weights(self, network: Classifier, name: str) -> None:
        torch.manual_seed(0)
        again = create(name).state_dict()
        assert {key for key, tensor in network.state_dict().items() if not torch.equal(tensor, again.pop(key))} == set()
        assert again == {}


@pytest.mark.parametrize("name", [name for name in SMALL if name not in COVERED], scope="class")
class TestForms:
    """All that depends on the form of the units and not on their number."""

    def test_profile_counts_every_block(self, name: str) -> None:
        network = create(name, device="meta")
        result = profile(network, input_size=(1, 3, SMALL[name], SMALL[name]), latency=False)
        assert result.params == sum(p.numel() for p in network.parameters())
        assert sum(row.share.params > 0 for row in result.blocks) == sum(path.endswith(".se") for path, _ in network.named_modules())

    def test_compiles_without_graph_breaks(self, short: Classifier, images: Tensor) -> None:
        torch.compiler.reset()  # else the sizes of the networks before make this one's symbolic
        compiled = torch.compile(short, backend="aot_eager", fullgraph=True)
        with backend("reference"):  # what is traced is the definition
            torch.testing.assert_close(compiled(images), short(images))

    @torch.no_grad()
    def test_exports_with_any_batch(self, program: torch.export.ExportedProgram, short: Classifier, images: Tensor) -> None:
        x = torch.randn(3, *images.shape[1:])
        with backend("reference"):
            torch.testing.assert_close(program.module()(x), short(x))

    @torch.no_grad()
    def test_onnx_runtime_agrees(self, program: torch.export.ExportedProgram, short: Classifier, images: Tensor, tmp_path: Path) -> None:
        onnxruntime = pytest.importorskip("onnxruntime")
        torch.onnx.export(program, dynamo=True, verbose=False).save(tmp_path / "model.onnx")
        session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
        for x in (images, torch.randn(3, *images.shape[1:])):
            got = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
            want = short(x)
            scale = max(1.0, want.abs().max().item())  # logits of networks that have no statistics yet may be large
            torch.testing.assert_close(torch.from_numpy(got), want, rtol=1e-3, atol=1e-4 * scale)


@torch.no_grad()
@pytest.mark.parametrize("name", RESIDUAL)
def test_zero_init_residual_starts_as_the_shortcuts(name: str, images: Tensor) -> None:
    model = create(name, zero_init_residual=True).eval()
    twin = create_model(name.removeprefix("se_"), block=None, device="meta").eval()
    twin.load_state_dict(model.state_dict(), strict=False, assign=True)
    torch.testing.assert_close(twin(images), model(images))  # nothing to recalibrate: the gates act on zeros


def create(name: str, **options: object) -> Any:
    """Create a network of the table with the options that it has there."""
    return create_model(name, **OPTIONS.get(name, {}), **options)
