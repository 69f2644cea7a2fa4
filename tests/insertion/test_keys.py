"""State dicts carried between the plain and the inserted network."""

import pytest
import torch
from torch import nn

import senet
from foreign.networks import Shared
from senet.errors import UsageError


def pair(placement: str = "standard") -> tuple[nn.Module, nn.Module, senet.InsertPlan]:
    torch.manual_seed(0)
    plain = senet.create_model("cifar_resnet20")
    model = senet.create_model("cifar_resnet20")
    return plain, model, senet.insert(model, "se", placement=placement, init="identity")


@pytest.mark.parametrize("placement", ["standard", "pre", "post", "identity", "inner"])
def test_a_plain_checkpoint_goes_into_the_inserted_network_and_back(placement: str) -> None:
    plain, model, plan = pair(placement)
    missing, unexpected = model.load_state_dict(senet.rename_keys(plain.state_dict(), plan, to="inserted"), strict=False)
    assert not unexpected
    assert all(".se." in key for key in missing)
    images = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(model.eval()(images), plain.eval()(images))
    back = senet.rename_keys(model.state_dict(), plan, to="plain")
    assert list(back) == list(plain.state_dict())
    assert all(torch.equal(value, plain.state_dict()[key]) for key, value in back.items())


def test_two_insertions_rename_in_turn() -> None:
    plain, model, first = pair()
    second = senet.insert(model, "sse", existing="add")
    assert {site.host for site in second} == {"Gated"}
    state = model.state_dict()
    between = senet.rename_keys(state, second, to="plain")
    assert list(senet.rename_keys(between, first, to="plain")) == list(plain.state_dict())
    again = senet.rename_keys(senet.rename_keys(plain.state_dict(), first, to="inserted"), second, to="inserted")
    assert again.keys() <= state.keys()
    senet.remove(model)
    assert list(model.state_dict()) == list(plain.state_dict())


def test_shared_modules_are_renamed_under_all_their_names() -> None:
    model, plain = Shared(), list(Shared().state_dict())
    plan = senet.insert(model)
    keys = list(model.state_dict())
    assert {"first.bn.host.weight", "again.bn.host.weight", "first.bn.se.fc1.weight", "again.bn.se.fc1.weight"} <= set(keys)
    assert list(senet.rename_keys(dict.fromkeys(keys), plan, to="plain")) == plain


@pytest.mark.parametrize(
    ("keys", "to", "message"),
    [
        (["module.layer1.0.bn2.weight"], "inserted", "no key layer1.0.*its keys are prefixed"),
        (["encoder.weight"], "plain", "no key layer1.0"),
        (["layer1.0.bn2.host.weight"], "inserted", "of the inserted network already; to='plain' leads back"),
        (["layer1.0.bn2.weight"], "plain", r"layer1\.0\.bn2\.host\.\* and layer1\.0\.bn2\.se\.\* are expected"),
        (["layer1.0.bn2.weight"], "outserted", "unknown to 'outserted'.*allowed: inserted, plain"),
    ],
)
def test_state_dicts_of_other_networks_are_refused(keys: list[str], to: str, message: str) -> None:
    _, _, plan = pair()
    with pytest.raises(UsageError, match=message):
        senet.rename_keys(dict.fromkeys(keys), plan, to=to)  # pyright: ignore[reportArgumentType]
