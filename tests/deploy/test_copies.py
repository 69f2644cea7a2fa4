"""Optimised networks live side by side, take new weights, and are copied and saved."""

import copy
import io

import torch

import senet
from oracles.optimized import distance, images, network, report_of


def test_two_optimised_networks_in_one_process():
    first, second = network("se_resnet18"), network("se_resnet18")
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.mul_(0.9)
    x = images("resnet")
    expected = first(x), second(x)
    forms = senet.optimize(first), senet.optimize(second)
    for _ in range(2):
        for form, output in zip(forms, expected, strict=True):
            assert distance(form(x), output) < 1e-5
    del forms  # what the next one allocates may lie where these lay
    assert distance(senet.optimize(second)(x), expected[1]) < 1e-5


def test_convolutions_keep_their_keys_and_blocks_move_to_them():
    plain, form = network("se_resnet50").state_dict(), senet.optimize(network("se_resnet50")).state_dict()
    convolutions = {key for key, value in plain.items() if value.ndim == 4}
    assert {key for key, value in form.items() if value.ndim == 4} == convolutions
    gates = {f"layer{stage}.{unit}.conv3.gate" for stage, units in enumerate((3, 4, 6, 3), 1) for unit in range(units)}
    layers = {f"{gate}.{layer}.{part}" for gate in gates for layer in ("fc1", "fc2") for part in ("weight", "bias")}
    biases = {key.replace("weight", "bias") for key in convolutions}
    assert form.keys() == convolutions | biases | layers | {"fc.weight", "fc.bias"}


def test_new_weights_are_seen():
    first, second = network("se_resnet18"), network("se_resnet18")
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.mul_(0.9)
    x, form = images("resnet"), senet.optimize(first)
    form(x)
    form.load_state_dict(senet.optimize(second).state_dict())
    assert distance(form(x), second(x)) < 1e-5
    doubled = form.double()
    assert distance(doubled(x.double()), second(x).double()) < 1e-5


def test_copies_and_files():
    model = network("se_resnet18")
    form, x = senet.optimize(model), images("resnet")
    expected = form(x)
    assert torch.equal(copy.deepcopy(form)(x), expected)
    assert report_of(copy.deepcopy(form)) == report_of(form)
    file = io.BytesIO()
    torch.save(form, file)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=False)(x), expected)
    assert report_of(senet.optimize(form)).fused == ()
    assert torch.equal(senet.optimize(form)(x), expected)
