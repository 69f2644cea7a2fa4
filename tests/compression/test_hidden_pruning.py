"""Networks with fewer hidden units, against the same networks with these masked."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

import senet
from oracles.masked_units import NETWORKS, images, masked, trained
from senet.blocks.kinds import is_block
from senet.compression.allocation import allocate_hidden
from senet.compression.budget import Budget
from senet.compression.hidden_pruning import prune_hidden
from senet.errors import UsageError
from senet.models.create import model_from_config


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_are_those_of_masked_units_and_the_configuration_rebuilds_the_network(name: str) -> None:
    model, x = trained(name), images()
    state = copy.deepcopy(model.state_dict())
    allocation = allocate_hidden(model, [(x[:1],), (x[1:],)], Budget(0.4, "block params"))
    pruned: Any = prune_hidden(model, allocation)
    assert sum(block.width for block in allocation.blocks) < sum(block.units.width for block in allocation.blocks)
    with torch.no_grad():
        assert torch.allclose(pruned(x), masked(model, allocation)(x), rtol=1e-12, atol=1e-12)
        assert not torch.equal(pruned(x), model(x))
    assert sum(parameter.numel() for parameter in pruned.parameters()) == allocation.parameters[1] < allocation.parameters[0]
    assert all(torch.equal(model.state_dict()[key], tensor) for key, tensor in state.items())
    again: Any = model_from_config(pruned.config.to_dict()).double().eval()
    again.load_state_dict(pruned.state_dict())
    assert again.config.to_dict() == pruned.config.to_dict()
    with torch.no_grad():
        assert torch.equal(again(x), pruned(x))


@pytest.mark.parametrize("name", ["preactivated", "scse", "cmpe_se", "inserted", "inserted as identity", "one block folded"])
def test_files_of_weights_rebuild_the_network(name: str, tmp_path: Path) -> None:
    model, x = trained(name), images()
    allocation = allocate_hidden(model, [(x,)], Budget(0.4, "block params"))
    pruned: Any = prune_hidden(model, allocation).float()
    senet.save_weights(pruned, tmp_path / "pruned.safetensors")
    again = senet.from_pretrained(tmp_path / "pruned.safetensors")
    with torch.no_grad():
        assert torch.equal(again(x.float()), pruned(x.float()))
    hidden = {path: block.hidden for path, block in again.named_modules() if is_block(block) and hasattr(block, "hidden")}
    assert {path: hidden[path] for path in allocation.widths} == allocation.widths


def test_units_that_never_fire_go_for_nothing() -> None:
    model, x = trained("preactivated"), images()
    silent: Any = model.get_submodule("layer2.1.se.fc1")
    with torch.no_grad():
        silent.bias[[1, 4]] = -1e6
    allocation = allocate_hidden(model, [(x,)], 1.0)
    assert {block.path: block.units.width - block.width for block in allocation.blocks} == {
        block.path: block.units.dead for block in allocation.blocks
    }
    assert next(block.units.dead for block in allocation.blocks if block.path == "layer2.1.se") >= 2
    with torch.no_grad():
        assert torch.allclose(prune_hidden(model, allocation)(x), model(x), rtol=1e-12, atol=1e-12)


def test_gradients_are_those_of_masked_units() -> None:
    model, x = trained("preactivated").train(), images()
    allocation = allocate_hidden(model, [(x,)], Budget(0.5, "block params"))
    pruned, whole = prune_hidden(model, allocation), masked(model, allocation)
    assert all(module.training for module in pruned.modules())
    for network in (pruned, whole):
        network(x).square().sum().backward()
    wanted = dict(whole.named_parameters())
    for name, parameter in pruned.named_parameters():
        own, grad = parameter.grad, wanted[name].grad
        assert own is not None
        assert grad is not None
        if own.shape == grad.shape:
            assert torch.allclose(own, grad, rtol=1e-9, atol=1e-12), name
    for block in allocation.blocks:
        (kept,) = block.units.strongest(block.width)
        narrow, wide = (network.get_parameter(f"{block.units.place.last}.weight").grad for network in (pruned, whole))
        assert narrow is not None
        assert wide is not None
        assert torch.allclose(narrow, wide[:, list(kept)], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["preactivated", "shufflenet", "omitted", "scse"])
def test_a_block_that_goes_leaves_a_unit_without_one(name: str) -> None:
    model, x = trained(name), images()
    allocation = allocate_hidden(model, [(x,)], Budget(0.06, "block params"), drop=True)
    assert 0 < len(allocation.dropped) < len(allocation.blocks)
    pruned: Any = prune_hidden(model, allocation)
    without = masked(model, allocation)
    for path in allocation.dropped:
        without.get_submodule(path).forward = lambda x: x
    with torch.no_grad():
        assert torch.allclose(pruned(x), without(x), rtol=1e-12, atol=1e-12)
    assert set(pruned.config.omitted) == set(allocation.omitted)
    assert sum(parameter.numel() for parameter in pruned.parameters()) == allocation.parameters[1]
    again = model_from_config(pruned.config.to_dict()).double().eval()
    again.load_state_dict(pruned.state_dict())
    with torch.no_grad():
        assert torch.equal(again(x), pruned(x))


def test_all_blocks_can_go() -> None:
    model, x = trained("preactivated"), images()
    allocation = allocate_hidden(model, [(x,)], Budget(1e-9, "block params"), drop=True)
    pruned: Any = prune_hidden(model, allocation)
    plain: Any = senet.create_model("preresnet20").double().eval()
    plain.load_state_dict(pruned.state_dict())
    with torch.no_grad():
        assert torch.equal(pruned(x), plain(x))
    assert allocation.spec is None
    assert pruned.config.options["block"] is None


def test_a_pruned_network_trains_on_is_exported_and_is_pruned_again(tmp_path: Path) -> None:
    model, x = trained("preactivated").float(), images().float()
    pruned: Any = prune_hidden(model, allocate_hidden(model, [(x,)], Budget(0.4, "block params")))
    optimizer = torch.optim.SGD(pruned.parameters(), 0.1)
    before = pruned(x)
    torch.nn.functional.cross_entropy(before, torch.zeros(len(x), dtype=torch.long)).backward()
    optimizer.step()
    assert not torch.equal(pruned(x), before)
    again: Any = prune_hidden(pruned, allocate_hidden(pruned, [(x,)], Budget(0.4, "block params")))
    assert again.config != pruned.config
    assert torch.allclose(senet.optimize(again)(x), again(x), atol=1e-5)
    report: Any = senet.export_onnx(again, tmp_path / "again.onnx")  # which runs the file and holds it against the network
    assert report.to_dict()
    repeated: Any = prune_hidden(pruned, allocate_hidden(pruned, [(x,)], Budget(0.4, "block params")))
    assert all(torch.equal(tensor, repeated.state_dict()[name]) for name, tensor in again.state_dict().items())


def test_an_allocation_fits_one_network() -> None:
    model, x = trained("preactivated"), images()
    allocation = allocate_hidden(model, [(x,)], Budget(0.4, "block params"))
    with pytest.raises(UsageError, match="made for a network with other blocks"):
        prune_hidden(prune_hidden(model, allocation), allocation)
