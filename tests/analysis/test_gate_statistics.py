"""The statistics of gates against slow ones in NumPy over all gates at once, of blocks from their papers' equations."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import senet
from oracles import numpy_blocks as oracle
from senet.analysis.gate_statistics import record_gates
from senet.blocks.channel import ChannelSE
from senet.blocks.channel_spatial import ChannelSpatialSE
from senet.blocks.competitive import CompetitiveSE
from senet.blocks.spatial import SpatialSE
from senet.errors import UsageError
from senet.surgery.hooks import hooked
from trained_mobilenet import photographs, trained_mobilenet

CHANNELS = 6


class Mixed(nn.Module):
    """One block of each kind, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, CHANNELS, 3)
        self.se = ChannelSE(CHANNELS, 2)
        self.unsqueezed = ChannelSE(CHANNELS, 3, squeeze="none", gate="hard_sigmoid")
        self.sse = SpatialSE(CHANNELS)
        self.scse = ChannelSpatialSE(CHANNELS, 2)
        self.cmpe = CompetitiveSE(CHANNELS, 2, bias=True)
        self.pairs = CompetitiveSE(CHANNELS, 2, variant="pair_2x1", bias=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.scse(self.sse(self.unsqueezed(self.se(self.stem(x)))))
        x = x + self.cmpe(x.tanh(), x)
        return self.pairs(x.cos(), x).mean((2, 3))


def made() -> tuple[Mixed, Tensor]:
    torch.manual_seed(0)
    model = Mixed().double().eval()
    for parameter in model.parameters():
        parameter.data += 0.6 * torch.randn_like(parameter)
    model.se.fc1.bias.data[1] = -100  # a unit that never fires
    return model, 2 * torch.randn(13, 3, 7, 5, dtype=torch.float64)


def parameters(block: nn.Module) -> dict[str, np.ndarray]:
    return {name: value.detach().numpy() for name, value in (*block.named_parameters(), *block.named_buffers())}


GATES: dict[str, Any] = {
    "se": lambda p, x: oracle.channel_gate(x, p),
    "unsqueezed": lambda p, x: oracle.channel_gate(x, p, "none", "hard_sigmoid"),
    "sse": lambda p, x: oracle.by_position(x, lambda z: oracle.sigmoid(oracle.dense(z, p, "conv"))),
    "scse.cse": lambda p, x: oracle.channel_gate(x, p),
    "scse.sse": lambda p, x: oracle.by_position(x, lambda z: oracle.sigmoid(oracle.dense(z, p, "conv"))),
    "cmpe": lambda p, u, x: oracle.competitive_gate(u, x, p),
    "pairs": lambda p, u, x: oracle.competitive_gate(u, x, p, variant="pair_2x1", statistics=p),
}


@torch.no_grad()
def all_gates(model: Mixed, images: Tensor) -> dict[str, np.ndarray]:
    """Return the gates (N, C, P) of every block by its path, from the inputs that it is given."""
    inputs: dict[nn.Module, tuple[np.ndarray, ...]] = {}

    def note(block: nn.Module, given: tuple[Tensor, ...], _: Tensor) -> None:
        inputs[block] = tuple(x.numpy() for x in given)

    blocks = {path: model.get_submodule(path) for path in GATES}
    with hooked(blocks.values(), note):
        model(images)
    gates = {path: gate(parameters(blocks[path]), *inputs[blocks[path]]) for path, gate in GATES.items()}
    return {path: gate.reshape(*gate.shape[:2], -1) for path, gate in gates.items()}


def slow(gates: np.ndarray, weights: np.ndarray) -> dict[str, Any]:
    """Return the statistics of gates (N, C, P) with weights (N, K), image by image and channel by channel."""
    count, channels, positions = gates.shape
    mean = np.array([np.mean([gates[i, c].mean() for i in range(count)]) for c in range(channels)])
    variance = np.array([np.mean([((gates[i, c] - mean[c]) ** 2).mean() for i in range(count)]) for c in range(channels)])
    covariance = np.zeros((channels, channels))
    for i in range(count):
        for p in range(positions):
            covariance += np.outer(gates[i, :, p] - mean, gates[i, :, p] - mean) / (count * positions)
    shares = np.linalg.svd(covariance, compute_uv=False)
    shares = shares[shares > 1e-18] / shares.sum()
    between, within, over_positions = [], [], []
    for c in range(channels):
        of_image, total = gates[:, c].mean(1), weights.sum()
        centre = (weights.sum(1) * of_image).sum() / total
        classes = [k for k in range(weights.shape[1]) if weights[:, k].any()]
        means = {k: np.average(of_image, weights=weights[:, k]) for k in classes}
        between.append(sum(weights[:, k].sum() * (means[k] - centre) ** 2 for k in classes) / total)
        within.append(sum(weights[i, k] * (of_image[i] - means[k]) ** 2 for k in classes for i in range(count)) / total)
        over_positions.append(sum(weights[i].sum() * gates[i, c].var() for i in range(count)) / total)
    total = np.sum(between) + np.sum(within) + np.sum(over_positions)
    return {
        "mean": mean,
        "deviation": np.sqrt(variance),
        "distance": np.sqrt(variance.mean()),
        "between": np.sqrt(np.mean(between)),
        "within": np.sqrt(np.mean(within)),
        "over_positions": np.sqrt(np.mean(over_positions)),
        "explained": np.sum(between) / total,
        "near_zero": (gates < 0.05).mean(),
        "near_one": (gates > 0.95).mean(),
        "rank": np.exp(-(shares * np.log(shares)).sum()),
    }


LABELS = {
    "classes": torch.arange(13) % 3,
    "counts": torch.randint(0, 30, (13, 4), generator=torch.Generator().manual_seed(2)) * torch.tensor([1, 0, 1, 1]),
}


@pytest.mark.parametrize("kind", LABELS)
def test_statistics_are_those_of_all_gates_at_once(kind: str) -> None:
    model, images = made()
    labels = LABELS[kind]
    weights = nn.functional.one_hot(labels) if labels.ndim == 1 else labels
    recorded = record_gates(model, zip(images.split(4), labels.split(4), strict=True))
    assert [block.path for block in recorded.blocks] == list(GATES)
    assert recorded.images == 13
    gates = all_gates(model, images)
    assert any((of_block < 0.05).any() for of_block in gates.values())
    for block in recorded.blocks:
        for name, value in slow(gates[block.path], weights.numpy().astype(float)).items():
            np.testing.assert_allclose(getattr(block, name), value, rtol=1e-11, atol=1e-12, err_msg=f"{block.path} {name}")


def test_halves_of_scse_are_two_entries_of_one_block() -> None:
    model, images = made()
    recorded = record_gates(model, [(images, LABELS["classes"])])
    assert [(block.block, block.kind) for block in recorded.blocks if block.path.startswith("scse")] == [
        ("scse", "channel"),
        ("scse", "position"),
    ]
    assert recorded["scse.sse"].mean.shape == (1,)
    assert recorded["scse.sse"].hidden is None


@torch.no_grad()
def test_hidden_units_are_counted_by_how_often_they_fire() -> None:
    model, images = made()
    recorded = record_gates(model, zip(images.split(5), LABELS["classes"].split(5), strict=True))
    seen: dict[str, tuple[Tensor, ...]] = {}
    handle = model.cmpe.register_forward_pre_hook(lambda _, given: seen.update(cmpe=given))
    model(images)
    handle.remove()
    u, x = (given.mean((2, 3)) for given in seen["cmpe"])
    hidden = torch.cat((model.cmpe.fc_residual(u), model.cmpe.fc_identity(x)), 1)
    torch.testing.assert_close(recorded["cmpe"].firing, (hidden > 0).double().mean(0), rtol=1e-14, atol=0.0)
    assert (recorded["se"].dead, recorded["se"].hidden) == (int((recorded["se"].firing == 0).sum()), 3)
    assert recorded["se"].firing is not None
    assert recorded["se"].firing[1] == 0
    stem = model.se(model.stem(images)).movedim(1, -1)
    fires = (model.unsqueezed.fc1(stem) > 0).double().mean((0, 1, 2))
    torch.testing.assert_close(recorded["unsqueezed"].firing, fires, rtol=1e-14, atol=0.0)


def test_excitations_of_the_same_pass_are_those_recorded_alone() -> None:
    model, images = made()
    batches = list(zip(images.split(4), LABELS["counts"].split(4), strict=True))
    alone, together = senet.record_excitations(model, batches), record_gates(model, batches).excitations
    assert together is not None
    assert together.classes == alone.classes
    assert together.to_dict() == alone.to_dict()


def test_images_without_classes_have_no_class_to_explain_anything() -> None:
    model, images = made()
    recorded = record_gates(model, [(part, None) for part in images.split(4)])
    labelled = record_gates(model, [(images, LABELS["classes"])])
    assert recorded.excitations is None
    assert [block.explained for block in recorded.blocks] == [None] * len(GATES)
    for block in recorded.blocks:
        np.testing.assert_allclose(block.distance, labelled[block.path].distance, rtol=1e-12)
    for classes in (torch.zeros(13, dtype=torch.int64), torch.arange(13)):
        assert record_gates(model, [(images, classes)])["se"].explained is None


def test_a_block_that_runs_twice_an_image_sees_no_more_images() -> None:
    block = ChannelSE(4, 2)
    nn.init.ones_(block.get_parameter("fc1.bias"))
    images = torch.rand(6, 4, 8, 8)
    for classes, explained in ((torch.arange(6), False), (torch.arange(6) % 3, True)):
        found = record_gates(nn.Sequential(block, block), [(images, classes)])
        assert found.images == 6
        assert (found.blocks[0].explained is not None) == explained


def test_constant_gates_have_no_rank_and_no_distance() -> None:
    model, images = made()
    nn.init.zeros_(model.se.fc2.weight)
    block = record_gates(model, [(images, LABELS["classes"])])["se"]
    assert block.distance < 1e-15
    assert block.rank == 0 or block.distance > 0  # rounding of equal gates may leave one direction
    assert block.between < 1e-15


def test_gates_of_tanh_far_below_0_are_not_near_it() -> None:
    block = ChannelSE(4, 2, gate="tanh")
    nn.init.zeros_(block.get_parameter("fc2.weight"))
    block.get_parameter("fc2.bias").data = torch.tensor([-5.0, -0.01, 5.0, 0.5])
    found = record_gates(block, [(torch.rand(3, 4, 2, 2), None)]).blocks[0]
    assert (found.near_zero, found.near_one) == (0.25, 0.25)


@pytest.mark.parametrize(("name", "names"), [("scse_preresnet20", 18), ("sse_preresnet20", 9), ("cmpe_se_preresnet20", 9)])
def test_zoo_blocks_have_the_papers_names(name: str, names: int) -> None:
    recorded = record_gates(senet.create_model(name), [(torch.randn(2, 3, 16, 16), torch.tensor([0, 1]))])
    found = [f"SE_{stage}_{unit}" for stage in (1, 2, 3) for unit in (1, 2, 3)]
    assert [block.name for block in recorded.blocks] == [name for name in found for _ in range(names // 9)]
    assert {block.block for block in recorded.blocks} == {f"layer{stage}.{unit}.se" for stage in (1, 2, 3) for unit in (0, 1, 2)}


def test_trained_blocks_of_another_library_are_recorded_under_their_paths(shared_data: Path) -> None:
    model = trained_mobilenet(shared_data)
    before = [type(module) for module in model.modules()]
    images, _ = photographs(shared_data, 12, size=96)
    recorded = record_gates(model, [(images, None)])
    assert [block.path for block in recorded.blocks] == [path for path, module in model.named_modules() if hasattr(module, "fc1")]
    assert len(recorded.blocks) == 9
    assert all(block.dead is not None for block in recorded.blocks)
    assert max(block.near_zero + block.near_one for block in recorded.blocks) > 0.1
    assert [type(module) for module in model.modules()] == before


def test_the_model_is_left_as_it_was() -> None:
    model = senet.create_model("scse_preresnet20").train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    record_gates(model, [(torch.randn(2, 3, 16, 16), torch.tensor([0, 1]))])
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_results_are_ready_for_json_and_print() -> None:
    model, images = made()
    recorded = record_gates(model, [(images, LABELS["classes"])])
    tree = json.loads(json.dumps(recorded.to_dict(), allow_nan=False))
    assert tree["images"] == 13
    assert tree["blocks"][0]["distance"] == recorded["se"].distance
    assert tree["blocks"][0]["mean"] == recorded["se"].mean.tolist()
    assert recorded.table().row_count == len(GATES)
    with pytest.raises(KeyError, match="SE_9"):
        recorded["SE_9"]


@pytest.mark.parametrize(
    ("model", "batches", "message"),
    [
        (nn.Conv2d(3, 4, 1), [], "Conv2d has no gates to record"),
        (Mixed(), [], "batches hold no images"),
        (Mixed(), [(torch.zeros(2, 3, 6, 6), torch.tensor([0]))], r"each of the 2 images, got shape \(1,\)"),
        (ChannelSE(4), [(torch.full((2, 4, 6, 6), torch.nan), None)], "gates at '' are not finite"),
        (
            nn.Sequential(nn.Flatten(0, 1), nn.Unflatten(0, (-1, 4)), ChannelSE(4)),
            [(torch.zeros(2, 8, 3, 3), None)],
            "block at '2' sees 4 inputs for 2 images",
        ),
    ],
)
def test_wrong_input_is_one_line(model: nn.Module, batches: list, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        record_gates(model, batches)
