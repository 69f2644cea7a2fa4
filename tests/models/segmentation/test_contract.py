"""What every network for segmentation can do: one contract class, one line a form."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from senet import (
    ChannelSpatialSE,
    backend,
    create_model,
    from_pretrained,
    insert,
    load_weights,
    optimize,
    profile,
    rename_keys,
    save_weights,
)
from senet.deploy.export import export
from senet.deploy.lengths import AXES
from senet.models.create import model_from_config
from senet.models.listing import ModelListing
from senet.models.segmentation.segmenter import Segmenter
from senet.ops.hooks import has_hooks
from senet.spec import BlockSpec

FORMS: dict[str, tuple[str, dict[str, Any], tuple[int, ...]]] = {
    "unet": ("scse_unet", {"kernel": 3}, (37, 50)),
    "unet batch": ("scse_unet", {"kernel": 3, "depth": 2, "norm": "batch", "upsample": "transposed"}, (37, 50)),
    "unet instance": ("scse_unet", {"convs": 1, "norm": "instance", "upsample": "bilinear", "depth": 3}, (37, 50)),
    "sd_net": ("scse_sd_net", {"kernel": 3, "depth": 3}, (37, 50)),
    "fc_densenet": ("scse_fc_densenet", {"kernel": 3, "depth": 2}, (37, 50)),
    "unet3d": ("scse_unet3d", {"depth": 2}, (9, 14, 11)),
    "unet3d batch": ("scse_unet3d", {"depth": 2, "norm": "batch", "upsample": "bilinear"}, (9, 14, 11)),
}
"""Form -> name, options beside a width of 6, and the sides of a small image, odd and even."""

EXPORTED = [
    *[(form, ".pt2") for form in ("unet batch", "unet instance", "sd_net", "fc_densenet", "unet3d batch")],
    *[(form, ".onnx") for form in ("unet batch", "sd_net", "fc_densenet", "unet3d batch")],
]
"""Forms that have every operator between them, and suffixes of files."""


def create(form: str, **options: Any) -> Any:
    """Create the network of a form, with 2 channels and 3 classes unless told otherwise."""
    name, own, _ = FORMS[form]
    return create_model(name, **{"width": 6, "in_channels": 2, "num_classes": 3} | own | options)


def lively(model: Any) -> Any:
    """Draw all parameters and statistics, so that no layer is the identity and no gate equals another."""
    torch.manual_seed(1)
    for key, tensor in model.state_dict().items():
        if tensor.is_floating_point() and tensor.ndim < 2:
            tensor.uniform_(0.5, 1.5) if key.endswith(("norm.weight", "var")) else tensor.normal_(0, 0.3)
    return model


@pytest.fixture(scope="class")
def network(form: str) -> Segmenter:
    """Return the network in evaluation mode, made once: tests may call it and not change it."""
    torch.manual_seed(0)
    return lively(create(form)).eval()


@pytest.fixture
def model(network: Segmenter) -> Segmenter:
    """Return a copy in training mode, for tests that change it."""
    return copy.deepcopy(network).train()


@pytest.fixture
def images(form: str) -> Tensor:
    return torch.randn(2, 2, *FORMS[form][2])


@pytest.mark.parametrize("form", FORMS, scope="class")
class TestContract:
    def test_every_parameter_gets_a_gradient(self, model: Segmenter, images: Tensor) -> None:
        model(images).square().sum().backward()
        assert [key for key, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []

    @torch.no_grad()
    def test_logits_have_the_size_of_the_image(self, network: Segmenter, images: Tensor) -> None:
        dims = images.ndim - 2
        least = 17 if "instance" in str(network) else 1
        for size in (images.shape[2:], (16,) * dims, (least, 33, 18)[:dims]):
            assert network(torch.randn(1, 2, *size)).shape == (1, 3, *size)

    @torch.no_grad()
    def test_one_channel_and_one_class(self, form: str, images: Tensor) -> None:
        model = create(form, in_channels=1, num_classes=1).eval()
        assert model(images[:, :1]).shape == (2, 1, *images.shape[2:])

    @torch.no_grad()
    def test_blocks_are_behind_every_stage_but_the_bottleneck(self, network: Segmenter) -> None:
        depth = network.config.options["depth"]
        assert list(network.stages) == list(range(1, 2 * depth + 2))
        paths = [path for path, module in network.named_modules() if isinstance(module, ChannelSpatialSE)]
        names = [network.stage_names[number] for number in network.stages if number != depth + 1]
        assert paths == [f"{name}.se" for name in names]

    @torch.no_grad()
    def test_skips_and_pools_carry_the_recalibrated_map(self, network: Segmenter, images: Tensor) -> None:
        seen: dict[str, Tensor] = {}
        for name in ("encoder1", "encoder2"):
            stage = network.get_submodule(name)
            stage.register_forward_hook(lambda module, args, out, name=name: seen.update({name: out, f"{name} in": args[0]}))
        last = network.get_submodule(f"decoder{network.config.options['depth']}")
        last.register_forward_pre_hook(lambda module, args: seen.update(joined=args[0]))
        network(images)
        for module in network.modules():
            if has_hooks(module):
                module._forward_hooks.clear()
                module._forward_pre_hooks.clear()
        assert torch.equal(seen["joined"][:, :6], seen["encoder1"])
        pool = nn.functional.max_pool2d if images.ndim == 4 else nn.functional.max_pool3d
        assert torch.equal(seen["encoder2 in"], pool(seen["encoder1"], 2, ceil_mode=True))

    @torch.no_grad()
    def test_features_match_what_they_say(self, form: str, images: Tensor) -> None:
        every = create(form, features_only=True).eval()
        maps = every(images)
        assert len(maps) == len(every.network.stages)
        for found, info in zip(maps, every.feature_info, strict=True):
            assert found.shape[1] == info["channels"]
            assert [found.shape[2:]] == [torch.Size(-(-side // info["stride"]) for side in images.shape[2:])]
        chosen = create(form, features_only=True, out_indices=(0, 3)).eval()
        chosen.load_state_dict(every.state_dict())
        assert all(torch.equal(got, want) for got, want in zip(chosen(images), (maps[0], maps[3]), strict=True))

    @torch.no_grad()
    def test_forward_is_head_of_features(self, network: Segmenter, images: Tensor) -> None:
        assert torch.equal(network(images), network.forward_head(network.forward_features(images)))

    @torch.no_grad()
    def test_files_of_weights(self, network: Segmenter, form: str, images: Tensor, tmp_path: Path) -> None:
        save_weights(network, tmp_path / "model.safetensors", classes=("a", "b", "c"))
        again = from_pretrained(tmp_path / "model.safetensors")
        assert isinstance(again, Segmenter)
        assert torch.equal(again(images), network(images))
        other = create(form).eval()
        load_weights(other, tmp_path / "model.safetensors")
        assert torch.equal(other(images), network(images))
        more = create(form, num_classes=5, weights=tmp_path / "model.safetensors").eval()
        assert torch.equal(more.forward_features(images), network.forward_features(images))
        again.reset_classifier(7)
        assert again(images).shape == (2, 7, *images.shape[2:])
        assert again.config.options["num_classes"] == 7

    @torch.no_grad()
    def test_config_builds_the_same_network_again(self, network: Segmenter, images: Tensor) -> None:
        again = model_from_config(network.config.to_dict()).eval()
        again.load_state_dict(network.state_dict())
        assert torch.equal(again(images), network(images))
        plain: Any = model_from_config(network.config.to_dict(), plain=True)
        assert plain.state_dict().keys() == {key for key in network.state_dict() if ".se." not in key}

    def test_same_seed_same_weights(self, form: str) -> None:
        states = []
        for _ in range(2):
            torch.manual_seed(0)
            states.append(create(form).state_dict())
        assert all(torch.equal(states[0][key], tensor) for key, tensor in states[1].items())
        assert all(p.device.type == "meta" for p in create(form, device="meta").parameters())

    def test_memory_formats_agree(self, model: Segmenter, images: Tensor) -> None:
        model, images = model.double(), images.double()
        last = torch.channels_last if images.ndim == 4 else torch.channels_last_3d
        want = model(images)
        model = model.to(memory_format=last)
        assert all(weight.is_contiguous(memory_format=last) for weight in model.parameters() if weight.ndim == images.ndim)
        got = model(images.contiguous(memory_format=last))
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)

    def test_bfloat16_autocast(self, model: Segmenter, images: Tensor) -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(images)
        assert logits.dtype == torch.bfloat16
        assert logits.isfinite().all()

    @torch.no_grad()
    def test_half_precision_follows_single(self, network: Segmenter, images: Tensor) -> None:
        want = network(images)
        got = copy.deepcopy(network).bfloat16()(images.bfloat16())
        assert got.dtype == torch.bfloat16
        assert (got.float() - want).square().mean() < 1e-2 * want.square().mean()

    def test_it_trains_where_algorithms_have_to_be_deterministic(self, model: Segmenter, images: Tensor) -> None:
        torch.use_deterministic_algorithms(True)
        try:
            twice = [torch.autograd.grad(model(images).square().sum(), list(model.parameters())) for _ in range(2)]
        finally:
            torch.use_deterministic_algorithms(False)
        assert all(torch.equal(one, other) for one, other in zip(*twice, strict=True))

    def test_profile_counts_every_block(self, network: Segmenter, images: Tensor) -> None:
        result = profile(network, input_size=tuple(images.shape), latency=False)
        assert result.params == sum(p.numel() for p in network.parameters())
        assert sum(row.share.params > 0 for row in result.blocks) == 2 * network.config.options["depth"]

    @pytest.mark.usefixtures("definition")
    def test_inserting_equals_the_zoo(self, network: Segmenter, form: str, images: Tensor) -> None:
        zoo: Any = network
        plain: Any = model_from_config(zoo.config.to_dict(), plain=True).eval()
        plan = insert(plain, BlockSpec("scse", reduction=2), at=r"(en|de)coder\d+")
        stages = [number for number in zoo.stages if number != zoo.config.options["depth"] + 1]
        assert [site.stage for site in plan] == stages
        state = {key: tensor for key, tensor in zoo.state_dict().items() if ".se." not in key}
        renamed = rename_keys(state, plan, to="inserted")
        blocks = {site.path: site.block_path for site in plan}
        for key in zoo.state_dict().keys() - state.keys():
            stage, _, name = key.partition(".se.")
            renamed[f"{blocks[stage]}.{name}"] = zoo.state_dict()[key]
        plain.load_state_dict(renamed)
        assert sum(p.numel() for p in plain.parameters()) == sum(p.numel() for p in zoo.parameters())
        with torch.no_grad():
            assert torch.equal(plain(images), zoo(images))


@pytest.mark.parametrize("form", dict.fromkeys(form for form, _ in EXPORTED))
def test_compiles_without_graph_breaks(form: str) -> None:
    torch.compiler.reset()
    model = create(form, depth=1).eval()
    images = torch.randn(2, 2, *FORMS[form][2])
    with backend("reference"), torch.no_grad():
        torch.testing.assert_close(torch.compile(model, backend="aot_eager", fullgraph=True)(images), model(images))


@pytest.mark.parametrize(("form", "suffix"), EXPORTED)
def test_files_for_other_engines_take_images_of_any_size(form: str, suffix: str, tmp_path: Path) -> None:
    if suffix == ".onnx":
        pytest.importorskip("onnxruntime")
    sides = FORMS[form][2]
    model = lively(create(form, depth=2)).eval()
    others = [torch.randn(1, 2, *(side + more for side in sides)) for more in (2, 3, 19)]
    report = export(model, tmp_path / f"model{suffix}", torch.randn(2, 2, *sides), optimize=suffix == ".pt2", images=others)
    assert report.free == ("batch", *AXES[len(sides) + 2])
    assert [check.shape for check in report.checks[-3:]] == [tuple(images.shape) for images in others]
    assert max(check.error for check in report.checks) < 1e-5


@torch.no_grad()
@pytest.mark.parametrize("form", FORMS)
def test_the_inference_form_agrees(form: str) -> None:
    model = lively(create(form)).eval()
    images = torch.randn(2, 2, *FORMS[form][2])
    torch.testing.assert_close(optimize(model)(images), model(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["unet", "sd_net", "fc_densenet", "unet3d"])
def test_the_listing_has_every_network_plain_and_recalibrated(name: str) -> None:
    rows = {row.name: row for row in ModelListing.of(f"*{name}").rows}
    assert rows.keys() == {name, f"se_{name}", f"sse_{name}", f"scse_{name}"}
    assert [row.blocks for row in rows.values()].count(8) == 3
    assert len(rows[name].input_size) == (4 if name == "unet3d" else 3)
