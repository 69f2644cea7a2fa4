"""What every detector can do, on small backbones."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import senet
from senet import backend, create_model
from senet.errors import UsageError
from senet.models.create import config_of

SMALL: dict[str, Any] = {"num_classes": 3, "backbone": "resnet18", "frozen_stages": 0}
REGIONS: dict[str, Any] = {"head_width": 16, "regions": 8, "proposals_train": 20, "proposals_test": 10, "detections_per_image": 5}
FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "faster_rcnn": ("faster_rcnn", {"fpn_channels": 8, **REGIONS}),
    "faster_rcnn c4": ("faster_rcnn", {"neck": "c4", **REGIONS}),
    "mask_rcnn": ("mask_rcnn", {"fpn_channels": 8, "mask_width": 8, **REGIONS}),
    "mask_rcnn c4": ("mask_rcnn", {"neck": "c4", "mask_width": 8, **REGIONS}),
    "retinanet": ("retinanet", {"fpn_channels": 8, "detections_per_image": 5, "score_threshold": 0.005}),
}
SIDES = ((67, 90), (64, 37))


def create(form: str, prefix: str = "se_", **options: Any) -> Any:
    """Create the small detector of a form, recalibrated unless told otherwise."""
    name, own = FORMS[form]
    torch.manual_seed(0)
    return create_model(prefix + name, **(SMALL | own | options))


def batch(sides: Any = SIDES, boxes: int = 2) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Return images, the first of them with boxes."""
    generator = torch.Generator().manual_seed(1)
    images = [torch.randn(3, *one, generator=generator) for one in sides]
    corners = torch.tensor([[3.0, 4.0, 50.0, 60.0], [20.0, 10.0, 35.5, 33.0]])[:boxes]
    targets = []
    for index, (height, width) in enumerate(sides):
        own = corners if index == 0 else corners[:0]
        masks = torch.ones(len(own), height, width, dtype=torch.uint8)
        targets.append({"boxes": own, "labels": torch.arange(len(own)), "masks": masks})
    return images, targets


def equal(one: Any, other: Any) -> bool:
    """Return whether two lists of detections are bit-equal."""
    return all(torch.equal(a[key], b[key]) for a, b in zip(one, other, strict=True) for key in a)


@pytest.mark.parametrize("form", FORMS)
class TestDetector:
    def test_losses_and_gradients(self, form: str) -> None:
        model = create(form).train()
        images, targets = batch()
        losses = model(images, targets)
        assert all(loss.ndim == 0 and loss.isfinite() for loss in losses.values())
        assert len(losses) == (2 if form == "retinanet" else 4 + form.startswith("mask"))
        torch.stack(list(losses.values())).sum().backward()
        assert [name for name, p in model.named_parameters() if p.grad is None] == []
        gates = [p.grad for name, p in model.named_parameters() if ".se." in name]
        assert len(gates) == 8 * 4
        assert all(bool(gate.any()) for gate in gates)

    def test_detections_lie_in_their_image(self, form: str) -> None:
        images, targets = batch()
        model = create(form).eval()
        with torch.no_grad():
            found = model(images)
            state = torch.get_rng_state()
            losses, again = model(images, targets)
            repeated, _ = model(images, targets)
        assert torch.equal(state, torch.get_rng_state())
        assert equal(found, again)
        assert {k: v.item() for k, v in losses.items()} == {k: v.item() for k, v in repeated.items()}
        for one, image in zip(found, images, strict=True):
            height, width = image.shape[1:]
            assert one["boxes"].shape == (len(one["scores"]), 4)
            assert len(one["labels"]) == len(one["scores"]) <= 5
            assert ((one["boxes"] >= 0) & (one["boxes"] <= torch.tensor([width, height, width, height]))).all()
            assert set(one["labels"].tolist()) <= {0, 1, 2}
            assert "masks" not in one or one["masks"].shape == (len(one["scores"]), height, width)
        assert any(len(one["scores"]) for one in found)

    def test_one_class_and_no_box(self, form: str) -> None:
        model = create(form, num_classes=1).train()
        images, targets = batch(boxes=0)
        losses = model(torch.stack([images[0], images[0]]), [targets[0], targets[0]])
        torch.stack(list(losses.values())).sum().backward()
        assert all(loss.isfinite() for loss in losses.values())
        assert model(*batch(sides=((33, 95),), boxes=1)).keys() == losses.keys()

    def test_what_is_saved_is_built_again(self, form: str, tmp_path: Path) -> None:
        model = create(form, backbone_options={"stem_pool": "pad"}, frozen_stages=2, frozen_bn=True, frozen_blocks=True).eval()
        senet.save_weights(model, tmp_path / "w.safetensors")
        read: Any = senet.from_pretrained(tmp_path / "w.safetensors")
        assert json.dumps(config_of(read).to_dict()) == json.dumps(config_of(model).to_dict())
        images, _ = batch()
        with torch.no_grad():
            assert equal(model(images), read(images))
            assert equal(model(images), copy.deepcopy(model)(images))

    def test_classes_are_changed(self, form: str) -> None:
        model = create(form)
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        model.reset_classifier(7)
        assert model.config.options["num_classes"] == 7
        expected = create(form, num_classes=7, device="meta").state_dict()
        now = model.state_dict()
        assert {k: v.shape for k, v in now.items()} == {k: v.shape for k, v in expected.items()}
        changed = {name for name, tensor in now.items() if not torch.equal(tensor, before[name])}
        assert all(any(name.startswith(layer) for layer in model.class_layers) for name in changed)
        images, targets = batch()
        targets[0]["labels"] += 5
        assert all(loss.isfinite() for loss in model.train()(images, targets).values())

    def test_inserted_blocks_equal_those_of_the_zoo(self, form: str) -> None:
        zoo, plain = create(form).eval(), create(form, "").eval()
        images, _ = batch()
        found = senet.find_sites(plain, "se", example_input=(images,), stages=(2, 3, 4, 5))
        plan = senet.insert(plain, found.keep(paths="^backbone"), example_input=(images,))
        hosts = {name: tensor for name, tensor in zoo.state_dict().items() if ".se." not in name}
        blocks = {name.replace(".se.", ".bn2.se."): tensor for name, tensor in zoo.state_dict().items() if ".se." in name}
        plain.load_state_dict({**senet.rename_keys(hosts, plan, to="inserted"), **blocks})
        with torch.no_grad(), backend("reference"):
            assert equal(plain(images), zoo(images))
        with torch.no_grad():  # units of the zoo may fuse their tails, which rounds otherwise
            wide = [image.double() for image in images]
            torch.testing.assert_close(plain.double()(wide), zoo.double()(wide), rtol=1e-12, atol=1e-12)

    def test_frozen_stages_and_norms_stand_still(self, form: str) -> None:
        model = create(form, frozen_stages=2, frozen_bn=True).train()
        before = {name: tensor.clone() for name, tensor in model.backbone.body.state_dict().items()}
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
        torch.stack(list(model(*batch()).values())).sum().backward()
        optimizer.step()
        moved = {name for name, tensor in model.backbone.body.state_dict().items() if not torch.equal(tensor, before[name])}
        assert all("bn" not in name and "downsample.1" not in name for name in moved)
        assert all(".se." in name for name in moved if name.startswith(("conv1", "layer1")))
        gates = {name: p.grad for name, p in model.backbone.body.named_parameters() if ".se." in name}
        assert [name for name, gradient in gates.items() if gradient is None or not gradient.any()] == []
        assert {"layer2.0.conv1.weight", "layer4.1.conv2.weight"} <= moved

    def test_outline_and_options(self, form: str) -> None:
        model = create(form, device="meta")
        assert all(p.is_meta for p in model.parameters())
        assert list(model.stages) == [2, 3, 4, 5]
        assert model.input_size == (3, 800, 800)
        maps: Any = create_model(model.config.name, **(SMALL | FORMS[form][1]), features_only=True)
        shapes = [tuple(tensor.shape) for tensor in maps(torch.zeros(1, 3, 128, 64))]
        assert shapes == [(1, i["channels"], -(-128 // i["stride"]), -(-64 // i["stride"])) for i in maps.feature_info]


def test_a_block_is_named_once() -> None:
    named = create_model("faster_rcnn", backbone="se_resnet18", device="meta")
    assert config_of(named) == config_of(create_model("se_faster_rcnn", backbone="resnet18", device="meta"))
    assert config_of(named).name == "se_faster_rcnn"
    plain = create_model("faster_rcnn", backbone="se_resnet18", block=None, device="meta")
    assert not [name for name, _ in plain.named_modules() if name.endswith(".se")]
    own = create_model("faster_rcnn", backbone="senet154", block=None, device="meta")
    assert not [name for name, _ in own.named_modules() if name.endswith(".se")]
    for name, block in (("se_faster_rcnn", "auto"), ("faster_rcnn", "scse")):
        with pytest.raises(UsageError, match="block"):
            create_model(name, block=block, backbone="se_resnet18", device="meta")


def test_blocks_of_frozen_stages_train_unless_told_otherwise() -> None:
    for frozen_blocks in (False, True):
        model = create("faster_rcnn", frozen_stages=3, frozen_blocks=frozen_blocks, device="meta")
        trains = {name for name, p in model.backbone.body.named_parameters() if p.requires_grad and name.startswith("layer2")}
        assert len(trains) == (0 if frozen_blocks else 2 * 4)
        assert all(".se." in name for name in trains)


def test_a_trained_backbone_is_loaded_and_frozen(tmp_path: Path) -> None:
    torch.manual_seed(2)
    trained = create_model("se_resnet18", num_classes=5)
    senet.save_weights(trained, tmp_path / "w.safetensors")
    model: Any = create("faster_rcnn", backbone_weights=tmp_path / "w.safetensors")
    wanted = {name: tensor for name, tensor in trained.state_dict().items() if not name.startswith("fc.")}
    own = model.backbone.body.state_dict()
    assert own.keys() == wanted.keys()
    assert all(torch.equal(own[name], wanted[name]) for name in own)
    name, options = FORMS["faster_rcnn"]
    unsaid: Any = create_model(f"se_{name}", backbone="resnet18", backbone_weights=tmp_path / "w.safetensors", **options)
    assert (unsaid.freezing.stages, unsaid.freezing.norms) == (2, True)
    assert config_of(unsaid).options["frozen_stages"] == 2
    assert "backbone_weights" not in config_of(unsaid).options


@pytest.mark.parametrize("backbone", ["cifar_resnet20", "preresnet20", "vgg11_bn", "mobilenet", "bn_inception", "shufflenet_g3"])
def test_other_backbones(backbone: str) -> None:
    model = create("faster_rcnn", "", backbone=backbone)
    losses = model.train()(*batch())
    torch.stack(list(losses.values())).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert model.feature_info[0]["stride"] == 4
    frozen = create("faster_rcnn", "", backbone=backbone, frozen_stages=max(model.stages), device="meta")
    stages = {id(p) for stage in frozen.stages.values() for p in stage.parameters()}
    assert stages
    assert not any(p.requires_grad for p in frozen.parameters() if id(p) in stages)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "unet"}, "unet is no backbone"),
        ({"backbone": "timm/resnet18"}, "network of the zoo"),
        ({"backbone": "resnet19"}, "resnet18"),
        ({"neck": "c5"}, "fpn"),
        ({"frozen_stages": 6}, "frozen_stages"),
        ({"backbone_options": {"widths": 3}}, "widths"),
        ({"regions": 0}, "regions"),
        ({"stages": (7,), "block": "se"}, "no stage 7"),
        ({"bakbone": "resnet18"}, "backbone"),
        ({"anchor_scale": 0}, "anchor_scale must be a number above 0, got 0"),
        ({"anchor_scale": -1.0}, "anchor_scale"),
        ({"anchor_scale": float("nan")}, "anchor_scale"),
        ({"anchor_scale": float("inf")}, "anchor_scale"),
        ({"anchor_scale": "big"}, "anchor_scale"),
        ({"score_threshold": 7}, "score_threshold must be a number from 0 to 1, got 7"),
        ({"nms_threshold": -0.5}, "nms_threshold"),
        ({"nms_threshold": "high"}, "nms_threshold"),
        ({"frozen_bn": "fales"}, "frozen_bn must be true or false, got 'fales'"),
        ({"frozen_blocks": 2}, "frozen_blocks"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        create_model("faster_rcnn", **(SMALL | options), device="meta")


@pytest.mark.parametrize("option", [{"anchor_scale": 0}, {"score_threshold": 1.1}, {"nms_threshold": None}, {"frozen_bn": "no"}])
def test_wrong_options_of_one_stage_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(option))} must be"):
        create_model("retinanet", backbone="preresnet20", **option, device="meta")


def test_wrong_calls_are_refused() -> None:
    model = create("faster_rcnn").train()
    images, targets = batch()
    with pytest.raises(UsageError, match="needs targets"):
        model(images)
    targets[0]["boxes"] = torch.tensor([[3.0, 4.0, 3.0, 9.0]])
    with pytest.raises(UsageError, match="target 0 has a box without area"):
        model(images, targets)
    with pytest.raises(UsageError, match="images"):
        model([])
