"""The MobileNetV3-Small of the shared data, trained on ImageNet, and photographs for it."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional


class SameConv(nn.Conv2d):
    """A convolution with the padding of TensorFlow, which at stride 2 has the odd row and column behind the image."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        pads = []
        for size, kernel, stride in zip(reversed(input.shape[2:]), reversed(self.kernel_size), reversed(self.stride), strict=True):
            total = max(0, (-(-size // stride) - 1) * stride + kernel - size)
            pads += [total // 2, total - total // 2]
        return functional.conv2d(functional.pad(input, pads), self.weight, self.bias, self.stride, 0, 1, self.groups)


def padded_mobilenet() -> nn.Module:
    """Return torchvision's network with BN in the biases of its convolutions and TensorFlow's padding, untrained."""
    model = torchvision.models.mobilenet_v3_small()
    for module in model.modules():
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.Identity())
            elif isinstance(child, nn.Conv2d) and child.bias is None:
                sizes: Any = child.kernel_size, child.stride
                same = SameConv(child.in_channels, child.out_channels, *sizes, groups=child.groups)
                setattr(module, name, same)
    return model


def trained_mobilenet(shared_data: Path) -> nn.Module:
    """Return it with the trained weights; images lie in -1..1."""
    model = padded_mobilenet()
    weights = load_file(shared_data / "se_weights" / "mobilenetv3_small_imagenet_f16.safetensors")
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    model.load_state_dict({name: value.float().reshape(shapes[name]) for name, value in weights.items()})
    return model.eval()


def photographs(shared_data: Path, count: int, size: int = 224, every: int = 1) -> tuple[Tensor, Tensor]:
    """Return every so manieth photograph, cropped in its middle, (count, 3, size, size), and their classes."""
    folder = shared_data / "imagenet1k_sample"
    with (folder / "labels.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[::every][:count]
    images = []
    for row in rows:
        image = Image.open(folder / "images" / row["file"]).convert("RGB")
        left, top = (image.width - 224) // 2, (image.height - 224) // 2
        image = image.crop((left, top, left + 224, top + 224)).resize((size, size))
        images.append(torch.from_numpy(np.array(image)).movedim(-1, 0) / 127.5 - 1)
    return torch.stack(images), torch.tensor([int(row["class_index"]) for row in rows])
