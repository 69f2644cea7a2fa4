"""Segmentation networks of other libraries: how they are built, small, and which of their blocks take a gate."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
import torchvision
from torch import nn

BASIC = "conv_0", "down_1.convs", "down_2.convs", "down_3.convs"


@dataclass(frozen=True)
class Segmentation:
    """Facts of one network.

    Args:
        build: makes it, with random weights.
        sites: kind of unit -> paths, in the order of execution.
        sizes: shapes of two inputs that it takes; the second has odd sides where the network takes such.
        notes: how many remarks the plan has on what it leaves out.
        slow: whether its tests take seconds.
    """

    build: Callable[[], nn.Module]
    sites: Mapping[str, tuple[str, ...]]
    sizes: tuple[tuple[int, ...], ...] = ((2, 1, 32, 32), (1, 1, 24, 40))
    notes: int = 0
    slow: bool = False


def of(module: str, name: str, *args: Any, **options: Any) -> Callable[[], nn.Module]:
    """Return what builds a network of a package, which is imported then: it takes seconds."""
    return lambda: getattr(import_module(module), name)(*args, **options)


def nnunet(name: str = "PlainConvUNet", dimensions: int = 2, *, per_stage: int = 2, **options: Any) -> Callable[[], nn.Module]:
    """Return what builds a network of nnU-Net with three stages."""
    counts = "n_conv_per_stage" if name == "PlainConvUNet" else "n_blocks_per_stage"
    given: dict[str, Any] = {
        "input_channels": 1,
        "n_stages": 3,
        "features_per_stage": (8, 16, 32),
        "conv_op": (nn.Conv2d, nn.Conv3d)[dimensions - 2],
        "kernel_sizes": 3,
        "strides": (1, 2, 2),
        counts: per_stage,
        "num_classes": 3,
        "n_conv_per_stage_decoder": per_stage,
        "conv_bias": True,
        "norm_op": (nn.InstanceNorm2d, nn.InstanceNorm3d)[dimensions - 2],
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "nonlin": nn.LeakyReLU,
        "nonlin_kwargs": {"inplace": True},
    }
    return of("dynamic_network_architectures.architectures.unet", name, **given | options)


def monai(name: str, *args: Any, **options: Any) -> Callable[[], nn.Module]:
    """Return what builds a network of MONAI."""
    return of("monai.networks.nets", name, *args, **options)


def smp(name: str, sites: Mapping[str, tuple[str, ...]], *, notes: int = 0, slow: bool = False, **options: Any) -> Segmentation:
    """Return a network of segmentation-models-pytorch with a residual encoder of two stages of ResNet-18, or all four."""
    depth = options.pop("encoder_depth", 5)
    encoder = tuple(f"encoder.layer{stage}.{unit}.bn2" for stage in range(1, depth) for unit in range(2))
    build = of("segmentation_models_pytorch", name, "resnet18", encoder_weights=None, encoder_depth=depth, **options)
    sides = ((2, 3, 64, 64), (1, 3, 32, 96)) if name != "PAN" else ((1, 3, 128, 128), (1, 3, 128, 160))
    return Segmentation(build, {"residual": encoder} | dict(sites), sides, notes, slow)


def named(pattern: str, *names: object) -> tuple[str, ...]:
    """Return a path for each name."""
    return tuple(pattern.format(name) for name in names)


PLAIN = {"encoder": named("encoder.stages.{}.0", 0, 1), "decoder": named("decoder.stages.{}", 0, 1)}
VOLUMES = ((2, 1, 8, 16, 16), (1, 1, 12, 8, 20))
RESIDUAL = named("encoder.stages.{}.conv2", *(f"{stage}.blocks.{unit}" for stage in range(3) for unit in range(2)))
RESNET50 = tuple(f"backbone.layer{stage}.{unit}.bn3" for stage, count in enumerate((3, 4, 6, 3), 1) for unit in range(count))
ODD = ((2, 3, 64, 64), (1, 3, 65, 47))
DYNAMIC = (2, 1, 3, [3] * 3, [1, 2, 2], [2] * 2)
RESIDUAL_NESTED = named("model.{}.conv.unit1.adn.A", "0", "1.submodule.0", "1.submodule.1.submodule")
NESTED = named("model{}.adn.A", ".0", ".1.submodule.0")

SEGMENTERS = {
    "nnU-Net": Segmentation(nnunet(), PLAIN),
    "nnU-Net, deep supervision": Segmentation(nnunet(deep_supervision=True), PLAIN),
    "nnU-Net, 3-D": Segmentation(nnunet(dimensions=3), PLAIN, VOLUMES),
    "nnU-Net, 3-D, anisotropic, deep supervision": Segmentation(
        nnunet(dimensions=3, kernel_sizes=((1, 3, 3), 3, 3), strides=(1, (1, 2, 2), 2), deep_supervision=True), PLAIN, VOLUMES
    ),
    "nnU-Net, one convolution": Segmentation(
        nnunet(per_stage=1),
        {"encoder": PLAIN["encoder"], "decoder": PLAIN["decoder"]},
    ),
    "nnU-Net, residual": Segmentation(
        nnunet("ResidualEncoderUNet", deep_supervision=True), {"residual": RESIDUAL, "decoder": PLAIN["decoder"]}
    ),
    "nnU-Net, residual, 3-D": Segmentation(nnunet("ResidualEncoderUNet", 3), {"residual": RESIDUAL, "decoder": PLAIN["decoder"]}, VOLUMES),
    "MONAI UNet": Segmentation(
        monai("UNet", 2, 1, 3, (8, 16, 32), (2, 2)),
        {"encoder": NESTED, "decoder": ("model.1.submodule.2.adn.A",)},
    ),
    "MONAI UNet, residual": Segmentation(
        monai("UNet", 2, 1, 3, (8, 16, 32), (2, 2), num_res_units=2),
        {"residual": (*RESIDUAL_NESTED, "model.1.submodule.2.1.conv.unit0.adn.A")},
    ),
    "MONAI AttentionUnet": Segmentation(
        monai("AttentionUnet", 2, 1, 3, (8, 16, 32), (2, 2)),
        {"encoder": ("model.0", "model.1.submodule.0"), "decoder": named("model.1{}.merge.adn.A", "", ".submodule.1")},
    ),
    "MONAI BasicUNet": Segmentation(
        monai("BasicUNet", 2, 1, 3, (8, 8, 16, 16, 32, 8)),
        {"encoder": named("{}.conv_1.adn.A", *BASIC), "decoder": named("upcat_{}.convs", 4, 3, 2, 1)},
        ((2, 1, 32, 32), (1, 1, 33, 47)),
    ),
    "MONAI BasicUNet, 3-D": Segmentation(
        monai("BasicUNet", 3, 1, 3, (8, 8, 8, 8, 16, 8)),
        {"encoder": named("{}.conv_1.adn.A", *BASIC), "decoder": named("upcat_{}.convs", 4, 3, 2, 1)},
        ((2, 1, 32, 32, 32), (1, 1, 33, 32, 47)),
    ),
    "MONAI DynUNet": Segmentation(
        monai("DynUNet", *DYNAMIC, filters=[8, 16, 32]),
        {"encoder": ("input_block", "downsamples.0"), "decoder": named("upsamples.{}.conv_block", 0, 1)},
    ),
    "MONAI DynUNet, residual": Segmentation(
        monai("DynUNet", *DYNAMIC, filters=[8, 16, 32], res_block=True),
        {
            "residual": ("input_block.norm2", "downsamples.0.norm2", "bottleneck.norm2"),
            "decoder": named("upsamples.{}.conv_block", 0, 1),
        },
    ),
    "MONAI SegResNet": Segmentation(
        monai("SegResNet", 2, 8, 1, 3, blocks_down=(1, 1, 1), blocks_up=(1, 1)),
        {"residual": named("{}.conv2.conv", "down_layers.0.1", "down_layers.1.1", "down_layers.2.1", "up_layers.0.0", "up_layers.1.0")},
    ),
    "MONAI VNet": Segmentation(
        monai("VNet", spatial_dims=2, in_channels=1, out_channels=3),
        {
            "residual": (
                "in_tr.conv_block.adn.N",
                *named("down_tr{}", "32.ops.0", "64.ops.1", "128.ops.2", "256.ops.1"),
                *named("up_tr{}", "256.ops.1", "128.ops.1", "64.ops.0", "32.ops.0"),
            )
        },
        ((2, 1, 32, 32), (1, 1, 16, 48)),
        slow=True,
    ),
    "MONAI UNETR": Segmentation(
        monai("UNETR", 1, 3, (32, 32), feature_size=8, hidden_size=32, mlp_dim=64, num_heads=4, spatial_dims=2),
        {
            "encoder": ("encoder4",),
            "residual": (
                *named("encoder{}.norm2", "1.layer", "2.blocks.0.1", "2.blocks.1.1", "3.blocks.0.1"),
                *named("decoder{}.conv_block.norm2", 5, 4, 3, 2),
            ),
        },
        ((2, 1, 32, 32),),
    ),
    "MONAI SwinUNETR": Segmentation(
        monai("SwinUNETR", 1, 3, feature_size=12, spatial_dims=2, depths=(1, 1, 1, 1), num_heads=(1, 2, 2, 4)),
        {
            "residual": (*named("encoder{}.layer.norm2", 1, 2, 3, 4, 10), *named("decoder{}.conv_block.norm2", 5, 4, 3, 2, 1)),
        },
        ((2, 1, 64, 64),),
        slow=True,
    ),
    "smp Unet, VGG": Segmentation(
        of("segmentation_models_pytorch", "Unet", "vgg11_bn", encoder_weights=None, encoder_depth=3, decoder_channels=(32, 16, 8)),
        {"encoder": named("encoder.features.{}", 6, 13), "decoder": named("decoder.blocks.{}.conv2.2", 0, 1, 2)},
        ((2, 3, 32, 32), (1, 3, 40, 24)),
    ),
    "smp Unet": smp("Unet", {"decoder": named("decoder.blocks.{}.conv2.2", *range(5))}, decoder_channels=(32, 16, 16, 8, 8)),
    "smp UnetPlusPlus": smp(
        "UnetPlusPlus",
        {"decoder": named("decoder.blocks.x_{}.conv2.2", "0_0", "1_1", "0_1", "0_2")},
        encoder_depth=3,
        decoder_channels=(16, 16, 8),
    ),
    "smp MAnet": smp(
        "MAnet",
        {
            "residual": (*(f"encoder.layer{stage}.{unit}.bn2" for stage in (1, 2) for unit in (0, 1)), "decoder.center"),
            "decoder": named("decoder.blocks.{}.conv2.2", *range(3)),
        },
        encoder_depth=3,
        decoder_channels=(16, 16, 8),
    ),
    "smp Linknet": smp("Linknet", {"decoder": named("decoder.blocks.{}.block.2.2", *range(5))}),
    "smp FPN": smp("FPN", {"decoder": named("decoder.p{}", 4, 3, 2)}, decoder_pyramid_channels=32, slow=True),
    "smp PSPNet": smp("PSPNet", {"dense": named("decoder.psp.blocks.{}", *range(4))}, encoder_depth=3, psp_out_channels=32),
    "smp DeepLabV3Plus": smp(
        "DeepLabV3Plus",
        {"depthwise": ("decoder.aspp.3", "decoder.block2.2"), "concat": ("decoder.aspp.0.project.0",)},
        decoder_channels=32,
        slow=True,
    ),
    "smp PAN": smp(
        "PAN",
        {
            "residual": (*(f"encoder.layer{stage}.{unit}.bn2" for stage in range(1, 5) for unit in range(2)), "decoder.gau3"),
            "decoder": ("decoder.gau2", "decoder.gau1"),
        },
        notes=4,
        slow=True,
    ),
    "torchvision FCN": Segmentation(
        lambda: torchvision.models.get_model("fcn_resnet50", weights=None, weights_backbone=None, num_classes=3),
        {"residual": RESNET50},
        ODD,
        slow=True,
    ),
    "torchvision LR-ASPP": Segmentation(
        lambda: torchvision.models.get_model("lraspp_mobilenet_v3_large", weights=None, weights_backbone=None, num_classes=3),
        {
            "residual": named("backbone.{}.1", "1.block.1", "3.block.2", "8.block.2", "9.block.2", "10.block.2"),
            "depthwise": ("backbone.2.block.2.1", "backbone.7.block.2.1"),
        },
        ODD,
        notes=1,
        slow=True,
    ),
}


def made(name: str) -> nn.Module:
    """Return a network in evaluation mode; the same one each time."""
    torch.manual_seed(0)
    model = SEGMENTERS[name].build().eval()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None and module.running_var is not None:
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.8, 1.2)
    return model
