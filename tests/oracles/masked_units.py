"""Networks of many families whose blocks have hidden units, and these masked."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

import senet
from senet.blocks.kinds import is_block
from senet.compression.allocated_widths import Allocation
from senet.models.reduced import FoldedBlock, ReducedStep, reduce_network


def inserted(name: str, spec: senet.BlockSpec, side: int = 32, **options: Any) -> nn.Module:
    """Return a plain network with blocks put into it."""
    host = senet.create_model(name, num_classes=3)
    senet.insert(host, spec, example_input=torch.zeros(1, 3, side, side), **options)
    return host


FOLDED = ReducedStep(folded=(FoldedBlock("layer2.0.se", 32),))

NETWORKS = {
    "preactivated": lambda: senet.create_model("se_preresnet20", reduction=4),
    "pre": lambda: senet.create_model("se_cifar_resnet20", reduction=2, placement="pre"),
    "identity": lambda: senet.create_model("resnet18", block="se", num_classes=3, placement="identity", stages=(2, 3)),
    "by stage, without bias": lambda: senet.create_model("preresnet20", block=senet.BlockSpec("se", hidden={1: 4, 2: 6, 3: 8}, bias=False)),
    "no squeeze": lambda: senet.create_model("preresnet20", block=senet.BlockSpec("se", reduction=4, squeeze="none", gate="tanh")),
    "branches": lambda: senet.create_model("se_shake_shake26_2x32d", reduction=4, recalibrate="branches"),
    "mobilenet": lambda: senet.create_model("se_mobilenet", num_classes=3),
    "shufflenet": lambda: senet.create_model("se_shufflenet_g3", num_classes=3),
    "omitted": lambda: senet.create_model("se_cifar_resnet20", reduction=4, omitted=((2, 1),)),
    "scse": lambda: senet.create_model("scse_cifar_resnet20", reduction=4),
    "scse u-net": lambda: senet.create_model("scse_unet", num_classes=3, width=8),
    "cmpe_se": lambda: senet.create_model("cmpe_se_preresnet20", reduction=4),
    "cmpe_se image": lambda: senet.create_model("preresnet20", block=senet.BlockSpec("cmpe_se", variant="pair_2x1", reduction=4)),
    "inserted": lambda: inserted("cifar_resnet20", senet.BlockSpec("se", reduction=4)),
    "inserted into a graph": lambda: inserted("cifar_resnet20", senet.BlockSpec("se", reduction=4), placement="identity"),
    "inserted as identity": lambda: inserted("cifar_resnet20", senet.BlockSpec("scse", reduction=4), stages=(2, 3), init="identity"),
    "encoder of a segmenter": lambda: senet.create_model("scse_unet", num_classes=3, encoder="se_cifar_resnet20"),
    "one block folded": lambda: reduce_network(senet.create_model("se_preresnet20", reduction=4), [FOLDED.to_dict()]),
    "torchvision": lambda: senet.create_model("torchvision/resnet18", num_classes=3, block=senet.BlockSpec("se", reduction=16)),
}
"""What makes them, by name."""


def trained(name: str) -> nn.Module:
    """Return a network whose blocks have weights as if it had been trained: no layer is 0, and biases are not, either."""
    torch.manual_seed(1)
    model = NETWORKS[name]().double()
    with torch.no_grad():
        for module in model.modules():
            if is_block(module):
                for parameter in module.parameters():
                    parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def images(count: int = 4) -> Tensor:
    """Return images, (N, 3, 32, 32)."""
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def masked(model: nn.Module, allocation: Allocation) -> nn.Module:
    """Return the network with every hidden unit that an allocation does not keep set to 0: what it is read by has no weight."""
    copied = copy.deepcopy(model)
    for block in allocation.blocks:
        place = block.units.place
        last: Any = copied.get_submodule(place.last)
        for part, kept in enumerate(block.units.strongest(block.width)):
            gone = [index for index in range(block.units.width) if index not in kept]
            with torch.no_grad():
                last.weight[:, [part * block.units.width + index for index in gone]] = 0
    return copied
