"""What is compiled, averaged, replicated or placed is read, written, measured and exported as the network inside."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from timm.utils.model_ema import ModelEmaV2, ModelEmaV3
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

import senet
from senet.deploy.export import export
from senet.errors import UsageError
from senet.surgery.wrappers import load_tensors, plain_state, unwrap, wrapper_attribute
from senet.weights.store import find_config, metadata_of, save_weights


@pytest.fixture(scope="module", autouse=True)
def alone() -> Iterator[None]:
    """Be the only process of a group."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def fabric(model: nn.Module) -> nn.Module:
    return Fabric(accelerator="cpu", devices=1).setup_module(model)


def inside(wrap: Callable[[nn.Module], nn.Module]) -> Callable[[nn.Module], nn.Module]:
    def change(model: nn.Module) -> nn.Module:
        model.layer1 = wrap(model.get_submodule("layer1"))
        return model

    return change


WRAPS: dict[str, Callable] = {
    "compile": torch.compile,
    "DataParallel": DataParallel,
    "DistributedDataParallel": DistributedDataParallel,
    "AveragedModel": AveragedModel,
    "Fabric": fabric,
    "ModelEmaV2": ModelEmaV2,
    "ModelEmaV3": ModelEmaV3,
    "compile in DistributedDataParallel": lambda model: DistributedDataParallel(torch.compile(model)),  # pyright: ignore[reportArgumentType]
    "AveragedModel of compile of DataParallel": lambda model: AveragedModel(torch.compile(DataParallel(model))),  # pyright: ignore[reportArgumentType]
    "Fabric of compile": lambda model: fabric(torch.compile(model)),  # pyright: ignore[reportArgumentType]
    "a compiled part": inside(torch.compile),
    "a replicated part": inside(DataParallel),
    "a part that is both": inside(lambda model: torch.compile(DistributedDataParallel(model))),
}


def make() -> nn.Module:
    return senet.create_model("se_preresnet20").eval()


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_weights_of_a_wrapped_network_are_those_of_the_network(wrap: Callable, tmp_path: Path) -> None:
    plain = make()
    state = {name: tensor.clone() for name, tensor in plain.state_dict().items()}
    save_weights(wrap(plain), tmp_path / "wrapped.safetensors")
    restored = senet.from_pretrained(tmp_path / "wrapped.safetensors")
    assert list(restored.state_dict()) == list(state)
    assert all(torch.equal(tensor, state[name]) for name, tensor in restored.state_dict().items())

    other = wrap(make())
    report = senet.load_weights(other, tmp_path / "wrapped.safetensors")
    assert report.tensors == len(state)
    assert plain_state(other).keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in plain_state(other).items())
    assert find_config(other).name == "se_preresnet20"
    assert metadata_of(other).config is not None


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_a_round_trip_by_name(wrap: Callable) -> None:
    model = wrap(make())
    load_tensors(model, {name: torch.full_like(tensor, 3) for name, tensor in plain_state(model).items()})
    assert all(bool((tensor == 3).all()) for tensor in plain_state(model).values())


@pytest.mark.parametrize("wrap", [WRAPS[name] for name in ("compile", "DataParallel", "AveragedModel", "Fabric of compile")])
def test_a_wrapped_network_is_measured_and_optimised_as_the_network(wrap: Callable) -> None:
    plain, x = make(), torch.randn(2, 3, 32, 32)
    wanted = senet.profile(plain, (1, 3, 32, 32), latency=False)
    found = senet.profile(wrap(plain), (1, 3, 32, 32), latency=False)
    assert found.to_dict() == wanted.to_dict()
    with torch.no_grad():
        assert torch.equal(senet.optimize(wrap(plain))(x), senet.optimize(plain)(x))


def test_a_wrapped_network_is_exported(tmp_path: Path) -> None:
    report = export(AveragedModel(nn.Sequential(nn.Conv2d(3, 4, 3))), tmp_path / "network.pt2", torch.randn(2, 3, 8, 8), optimize=False)
    assert report.checks[0].error < 1e-4


@pytest.mark.parametrize("wrap", [WRAPS[name] for name in WRAPS if name != "Fabric"], ids=[name for name in WRAPS if name != "Fabric"])
def test_insertion_names_the_network_inside(wrap: Callable) -> None:
    model = wrap(senet.create_model("preresnet20"))
    for change in (senet.insert, senet.find_sites):
        with pytest.raises(
            UsageError, match=r"wraps the network: insert into model\.\w+ first|wraps (\w+): put model\.\1\.\w+ in"
        ) as raised:
            change(model)
        assert "\n" not in str(raised.value)


def test_a_network_compiled_in_place_takes_blocks() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Sequential(nn.Conv2d(8, 8, 3), nn.ReLU()), nn.Conv2d(8, 4, 1)).eval()
    image = torch.randn(2, 3, 16, 16)
    plan = senet.find_sites(model, example_input=image)
    model.compile(backend="eager")
    model[2].compile(backend="eager")
    before = model(image)
    assert senet.find_sites(model, example_input=image) == plan
    senet.insert(model, example_input=image, init="identity")
    torch.testing.assert_close(model(image), before)
    assert model._compiled_call_impl is not None
    senet.remove(model)
    assert torch.equal(model(image), before)


@pytest.mark.parametrize("model", [None, {}, "resnet", nn.Module])
def test_what_is_no_network_is_one_line(model: Any, tmp_path: Path) -> None:
    for use in (lambda: save_weights(model, tmp_path / "a.safetensors"), lambda: senet.load_weights(model, {"a": torch.ones(1)})):
        with pytest.raises(UsageError, match=r"^a network \(torch.nn.Module\) is wanted, got \w+$"):
            use()


def test_blocks_of_a_wrapped_network_are_removed() -> None:
    plain, x = senet.create_model("preresnet20").eval(), torch.randn(1, 3, 32, 32)
    before = plain(x)
    senet.insert(plain)
    senet.remove(torch.compile(plain))  # pyright: ignore[reportArgumentType]
    assert torch.equal(plain(x), before)


def test_a_network_in_shards_is_refused(tmp_path: Path) -> None:
    model = fully_shard(nn.Sequential(nn.Linear(2, 2)))
    senet.save_weights(nn.Sequential(nn.Linear(2, 2)), tmp_path / "whole.safetensors")
    calls = (
        lambda: save_weights(model, tmp_path / "part.safetensors"),
        lambda: senet.load_weights(model, tmp_path / "whole.safetensors"),
        lambda: senet.optimize(model),
        lambda: senet.profile(model, (1, 2), latency=False),
    )
    for call in calls:
        with pytest.raises(UsageError, match="is sharded over processes"):
            call()
    assert [path.name for path in tmp_path.iterdir()] == ["whole.safetensors"]


def test_modules_that_only_look_wrapped() -> None:
    """An attribute of a usual name makes no wrapper."""
    model = nn.Module()
    model.module = nn.Linear(2, 2)
    assert wrapper_attribute(model) is None
    assert unwrap(model) is model
    assert list(plain_state(model)) == ["module.weight", "module.bias"]


class Extra(nn.Linear):
    def get_extra_state(self) -> dict[str, int]:
        return {"step": 3}

    def set_extra_state(self, state: object) -> None:
        pass


UNWRITABLE = {
    "without a shape": lambda: nn.LazyLinear(3),
    "without numbers": lambda: nn.Linear(2, 3, device="meta"),
    "no tensor": lambda: Extra(2, 2),
}


@pytest.mark.parametrize("reason", UNWRITABLE)
def test_what_a_file_cannot_hold_is_named(reason: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"cannot save .*{reason}"):
        save_weights(UNWRITABLE[reason](), tmp_path / "weights.safetensors")
    assert not list(tmp_path.iterdir())
