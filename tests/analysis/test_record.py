import json

import numpy as np
import pytest
import torch
from torch import nn

from senet import BlockSpec, create_model, record_excitations
from senet.blocks.channel import ChannelSE
from senet.errors import UsageError


def labelled_images(count: int, size: int, classes: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))
    return images, torch.arange(count) % classes


def batched(images: torch.Tensor, labels: torch.Tensor, size: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(zip(images.split(size), labels.split(size), strict=True))


class Foreign(nn.Module):
    """A network that is not from the zoo, built out of execution order, with blocks before and after a change of width."""

    def __init__(self) -> None:
        super().__init__()
        self.last = ChannelSE(16, 4)
        self.first = ChannelSE(8, 4)
        self.middle = ChannelSE(8, 4)
        self.stem = nn.Conv2d(3, 8, 3)
        self.widen = nn.Conv2d(8, 16, 1)

    def forward(self, x):
        return self.last(self.widen(self.middle(self.first(self.stem(x))))).mean((2, 3))


def gates_by_hand(model: Foreign, images: torch.Tensor) -> dict[str, torch.Tensor]:
    def gate(block: ChannelSE, x: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(x.mean((2, 3)) @ block.fc1.weight.T + block.fc1.bias)
        return torch.sigmoid(hidden @ block.fc2.weight.T + block.fc2.bias)

    gates, x = {}, model.stem(images)
    for name in ("first", "middle", "last"):
        x = model.widen(x) if name == "last" else x
        block = getattr(model, name)
        gates[name] = gate(block, x)
        x = x * gates[name][:, :, None, None]
    return gates


@torch.no_grad()
def test_statistics_equal_those_of_all_gates_at_once():
    torch.manual_seed(0)
    model = Foreign().double()
    images, labels = labelled_images(23, 6)
    images = images.double()
    recorded = record_excitations(model, batched(images, labels, 4))
    assert recorded.classes == (0, 1, 2)
    assert not recorded.weighted
    assert "weighted" not in recorded.to_dict()
    for name, gates in gates_by_hand(model, images).items():
        block = recorded[name]
        assert block.count.tolist() == [8, 8, 7]
        for row, label in enumerate(recorded.classes):
            of_class = gates[labels == label]
            torch.testing.assert_close(block.mean[row], of_class.mean(0), rtol=1e-12, atol=0.0)
            torch.testing.assert_close(block.std[row], of_class.std(0, correction=0), rtol=1e-9, atol=1e-14)


@torch.no_grad()
def test_images_of_several_classes_are_weighed_by_what_they_hold_of_each():
    torch.manual_seed(0)
    model = Foreign().double()
    images, _ = labelled_images(11, 6)
    images = images.double()
    pixels = torch.randint(0, 36, (11, 4), generator=torch.Generator().manual_seed(2))
    pixels[:, 1] = 0
    pixels[3:7, 2] = 0
    recorded = record_excitations(model, batched(images, pixels, 4))
    assert recorded.classes == (0, 2, 3)
    assert recorded.weighted
    assert recorded.to_dict()["weighted"] is True
    for name, gates in gates_by_hand(model, images).items():
        block = recorded[name]
        assert block.count.tolist() == pixels.sum(0)[[0, 2, 3]].tolist()
        for row, label in enumerate(recorded.classes):
            weights = pixels[:, label].numpy()
            mean = np.average(gates.numpy(), axis=0, weights=weights)
            spread = np.sqrt(np.average((gates.numpy() - mean) ** 2, axis=0, weights=weights))
            np.testing.assert_allclose(block.mean[row], mean, rtol=1e-12)
            np.testing.assert_allclose(block.std[row], spread, rtol=1e-9, atol=1e-14)


def test_foreign_blocks_come_in_order_of_execution_and_stages_follow_the_width():
    recorded = record_excitations(Foreign(), batched(*labelled_images(4, 6), 2))
    assert [(b.path, b.name, b.stage, b.ends_stage) for b in recorded.blocks] == [
        ("first", "first", 1, False),
        ("middle", "middle", 1, True),
        ("last", "last", 2, True),
    ]


def test_zoo_blocks_have_the_papers_names():
    model = create_model("se_preresnet20")
    recorded = record_excitations(model, batched(*labelled_images(4, 16), 4))
    assert [b.name for b in recorded.blocks] == [f"SE_{stage}_{block}" for stage in (1, 2, 3) for block in (1, 2, 3)]
    assert [b.name for b in recorded.blocks if b.ends_stage] == ["SE_1_3", "SE_2_3", "SE_3_3"]
    assert recorded["SE_2_3"] is recorded["layer2.2.se"]
    assert recorded["SE_2_3"].channels == 32


def test_units_without_a_block_keep_their_number():
    model = create_model("preresnet20", block=lambda stage, index, channels: None if index == 1 else BlockSpec("se"))
    recorded = record_excitations(model, batched(*labelled_images(4, 16), 4))
    assert [b.name for b in recorded.blocks] == ["SE_1_2", "SE_1_3", "SE_2_2", "SE_2_3", "SE_3_2", "SE_3_3"]


@pytest.mark.parametrize(("name", "path"), [("scse_preresnet20", "layer2.2.se.cse"), ("cmpe_se_preresnet20", "layer2.2.se")])
def test_the_channel_gates_of_other_blocks(name, path):
    recorded = record_excitations(create_model(name), batched(*labelled_images(4, 16), 4))
    assert recorded["SE_2_3"].path == path
    assert recorded["SE_2_3"].channels == 32
    assert len(recorded.blocks) == 9


def test_absent_classes_have_no_rows():
    images, _ = labelled_images(4, 6)
    recorded = record_excitations(Foreign(), [(images, torch.tensor([7, 2, 7, 7]))])
    assert recorded.classes == (2, 7)
    assert recorded["first"].count.tolist() == [1, 3]
    assert recorded["first"].std[0].tolist() == [0.0] * 8


def test_a_gate_with_positions_is_averaged_over_them():
    torch.manual_seed(0)
    convolution, block = nn.Conv2d(3, 4, 3), ChannelSE(4, 2, squeeze="none")
    images, labels = labelled_images(3, 6)
    recorded = record_excitations(nn.Sequential(convolution, block), [(images, labels)])
    with torch.no_grad():
        expected = block.gate(convolution(images)).mean((2, 3)).double()
    torch.testing.assert_close(recorded["1"].mean, expected, rtol=1e-6, atol=0.0)


def test_the_model_is_left_as_it_was():
    model = create_model("se_preresnet20").train()
    model.get_submodule("layer1.0.bn1").eval()
    flags = [module.training for module in model.modules()]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    record_excitations(model, batched(*labelled_images(4, 16), 2))
    assert [module.training for module in model.modules()] == flags
    assert not any(module._forward_hooks for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_results_are_ready_for_json_and_print():
    recorded = record_excitations(Foreign(), batched(*labelled_images(4, 6), 2))
    tree = json.loads(json.dumps(recorded.to_dict(), allow_nan=False))
    assert tree["classes"] == [0, 1, 2]
    assert tree["blocks"][0]["mean"] == recorded["first"].mean.tolist()
    assert recorded.table().row_count == 3


@pytest.mark.parametrize(
    ("model", "batches", "message"),
    [
        (nn.Conv2d(3, 4, 1), [], "Conv2d has no channel gates"),
        (Foreign(), [], "batches hold no images"),
        (Foreign(), [(torch.zeros(2, 3, 6, 6), torch.tensor([0]))], r"each of the 2 images, got shape \(1,\)"),
        (Foreign(), [(torch.zeros(1, 3, 6, 6), torch.tensor([-1]))], "labels must be"),
        (Foreign(), [(torch.zeros(1, 3, 6, 6), torch.tensor([[3, -1]]))], "labels must be"),
        (Foreign(), [(torch.zeros(1, 3, 6, 6), torch.tensor([[3.5, 1.0]]))], "or counts by class, got torch.float32; if"),
        (Foreign(), [(torch.zeros(2, 3, 6, 6), torch.tensor([0.4, 1.0]))], r"whole numbers, .* got torch\.float32; .* labels\.long\(\)"),
        (Foreign(), [(torch.zeros(2, 3, 6, 6), [0.0, 1.0])], "labels must be whole numbers"),
        (Foreign(), [(torch.zeros(1, 3, 6, 6), torch.tensor(0))], r"each of the 1 images, got shape \(\)"),
        (Foreign(), [(torch.zeros(1, 3, 6, 6), torch.zeros(1, 1, 1, dtype=torch.int64))], r"got shape \(1, 1, 1\)"),
        (Foreign(), [(torch.zeros(2, 3, 6, 6), torch.tensor([[3, 1]]))], r"each of the 2 images, got shape \(1, 2\)"),
        (Foreign(), [(torch.zeros(1, 3, 6, 6), torch.tensor([[0, 0]]))], "no images of any class"),
    ],
)
def test_wrong_input_is_one_line(model, batches, message):
    with pytest.raises(UsageError, match=message):
        record_excitations(model, batches)


def test_an_unknown_block_is_a_key_error():
    with pytest.raises(KeyError, match="SE_9_9"):
        record_excitations(Foreign(), batched(*labelled_images(2, 6), 2))["SE_9_9"]
