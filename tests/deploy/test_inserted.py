"""Networks with inserted blocks are optimised as the zoo's own."""

import pytest
import torch
import torchvision

import senet
from oracles.optimized import distance, images, report_of
from oracles.weights import draw


@pytest.mark.parametrize("kind", ["se", "scse"])
@pytest.mark.parametrize("name", ["resnet18", "resnext50_32x4d", "googlenet", "densenet121", "mobilenet_v2", "regnet_y_400mf"])
def test_torchvision_with_inserted_blocks(name, kind):
    options = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    model = torchvision.models.get_model(name, **options)
    model = draw(model, last=r"bn[23]$|conv\.3$|block\.c\.1$", projection=r"downsample|proj").eval().double()
    senet.insert(model, kind, example_input=torch.randn(1, 3, 64, 64, dtype=torch.float64), existing="add")
    form, x = senet.optimize(model), torch.randn(2, 3, 65, 75, dtype=torch.float64)
    with torch.no_grad():
        assert distance(form(x), model(x)) < 1e-11
    assert report_of(form).count("BN") > 0


@pytest.mark.parametrize("init", ["paper", "identity"])
def test_inserted_blocks_are_fused_as_the_zoos(init):
    model = draw(torchvision.models.resnet18(), last="bn2$", projection="downsample").eval()
    plan = senet.insert(model, "se", init=init)
    form, x = senet.optimize(model), images("resnet")
    with torch.no_grad():
        assert distance(form(x), model(x)) < 1e-5
    report = report_of(form)
    assert (report.count("SE"), report.count("shortcut"), report.kept) == (len(plan), 8, ())
