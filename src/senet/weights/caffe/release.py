"""Weights of the official release (hujie-frank/SENet): seven .caffemodel files, layers named as in its .prototxt files."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from senet.errors import UsageError
from senet.spec import InputSpec
from senet.weights.caffe.file import LayerBlobs, read_layers
from senet.weights.check import SHOWN, short
from senet.weights.imagenet import from_devkit
from senet.weights.releases.library import Library, Release, Rule, Tensors

INPUT = InputSpec(size=224, resize=256, channels=3, mean=(104 / 255, 117 / 255, 123 / 255), std=(1 / 255,) * 3, order="bgr")
"""Blue first, 0..255 less a mean, no division: values / 255 are scaled back by the standard deviation."""

HEAD: tuple[Rule, ...] = ((r"^classifier\.", "fc."),)
RESIDUAL: tuple[Rule, ...] = (
    (r"^conv1/7x7_s2\.", "conv1."),
    (r"^conv1/7x7_s2/bn\.", "bn1."),
    (r"^conv1_([123])/3x3(_s2)?\.", lambda m: f"conv1.{3 * int(m[1]) - 3}."),
    (r"^conv1_([12])/3x3(_s2)?/bn\.", lambda m: f"conv1.{3 * int(m[1]) - 2}."),
    (r"^conv1_3/3x3/bn\.", "bn1."),
    (r"^conv([2-5])_(\d{1,4})_", lambda m: f"layer{int(m[1]) - 1}.{int(m[2]) - 1}."),
    (r"\.1x1_reduce\.", ".conv1."),
    (r"\.1x1_reduce/bn\.", ".bn1."),
    (r"\.3x3\.", ".conv2."),
    (r"\.3x3/bn\.", ".bn2."),
    (r"\.1x1_increase\.", ".conv3."),
    (r"\.1x1_increase/bn\.", ".bn3."),
    (r"\.1x1_proj\.", ".downsample.0."),
    (r"\.1x1_proj/bn\.", ".downsample.1."),
    (r"\.1x1_down\.", ".se.fc1."),
    (r"\.1x1_up\.", ".se.fc2."),
    *HEAD,
)
INCEPTION: tuple[Rule, ...] = (
    (r"^conv1/7x7_s2\b", "conv1"),
    (r"^conv2/3x3_reduce\b", "conv2_reduce"),
    (r"^conv2/3x3\b", "conv2"),
    (r"^inception_([345][a-e])_1x1_down\.", r"\1.se.fc1."),
    (r"^inception_([345][a-e])_1x1_up\.", r"\1.se.fc2."),
    (r"^inception_([345][a-e])/", r"\1.branches."),
    (r"\.3x3_reduce\b", ".3x3.0"),
    (r"\.3x3(?=[./]\D)", ".3x3.1"),
    (r"\.double3x3_reduce\b", ".double_3x3.0"),
    (r"\.double3x3a\b", ".double_3x3.1"),
    (r"\.double3x3b\b", ".double_3x3.2"),
    (r"\.1x1(?=[./]\D)", ".1x1.0"),
    (r"\.pool_proj\b", ".pool.1"),
    (r"^([345])([a-e])\.", r"stage\1.\2."),
    (r"^((?:conv|stage\d\.\w\.branches\.)[^/]*)\.(weight|bias)$", r"\1.conv.\2"),
    (r"/bn\.", ".bn."),
    *HEAD,
)


def read_caffe(path: str | Path) -> Tensors:
    """Return what a .caffemodel learnt, as PyTorch's layers have it, under its own names.

    A convolution or InnerProduct layer "x" gives "x.weight" and "x.bias"; its BatchNorm "x/bn" and Scale "x/bn/scale" give
    "x/bn.running_mean", "x/bn.running_var", "x/bn.weight" and "x/bn.bias". Layers without blobs (Axpy, Eltwise and Scale with two
    inputs among them) have nothing to give.

    Raises:
        UsageError: if the file cannot be read, or has layers that are none of these; they are listed.
    """
    return layer_tensors(read_layers(path), str(path))


def layer_tensors(layers: Mapping[str, LayerBlobs], source: str = "buffer") -> Tensors:
    """Return the tensors of layers, see `read_caffe`; errors call their file `source`.

    Raises:
        UsageError: if a layer has blobs that none of those has.
    """
    tensors: Tensors = {}
    strange = []
    for layer in layers.values():
        suffix = next(suffix for suffix in BLOB_READERS if layer.name.endswith(suffix))
        found = BLOB_READERS[suffix](layer) if layer.blobs else {}
        if found is None:
            strange.append(layer)
        else:
            prefix = layer.name.removesuffix("/scale") if suffix else layer.name
            tensors |= {f"{prefix}.{name}": tensor for name, tensor in found.items()}
    if strange:
        listed = ", ".join(f"{short(layer.name)} ({layer.type}: {_shapes(layer)})" for layer in strange[:SHOWN])
        more = f" and {len(strange) - SHOWN} more" if len(strange) > SHOWN else ""
        raise UsageError(
            f"{source!r} has layers with blobs that no layer of the release has: {listed}{more}; expected are weight and bias, "
            f"BatchNorm 'x/bn' with mean, variance and factor, and Scale 'x/bn/scale' with gamma and beta"
        )
    return tensors


def _weight_and_bias(layer: LayerBlobs) -> Tensors | None:
    weight, *biases = layer.blobs
    if weight.ndim < 2 or len(biases) > 1 or not all(_is_vector(bias) for bias in biases):
        return None
    if layer.type == "InnerProduct":  # old files write (out, in) as (1, 1, out, in)
        if weight.shape[:-2].numel() != 1:
            return None
        weight = weight.reshape(weight.shape[-2:])
    return dict(zip(("weight", "bias"), (weight, *(bias.flatten() for bias in biases)), strict=False))


def _statistics(layer: LayerBlobs) -> Tensors | None:
    """Divide the sums by their factor; where that is 0, Caffe takes them for 0."""
    if len(layer.blobs) != 3 or not all(_is_vector(blob) for blob in layer.blobs) or layer.blobs[2].numel() != 1:
        return None
    mean, variance, factor = (blob.flatten().double() for blob in layer.blobs)
    count = factor if factor != 0 else torch.inf
    return {"running_mean": (mean / count).float(), "running_var": (variance / count).float()}


def _affine(layer: LayerBlobs) -> Tensors | None:
    if len(layer.blobs) != 2 or not all(_is_vector(blob) for blob in layer.blobs):
        return None
    return {name: blob.flatten() for name, blob in zip(("weight", "bias"), layer.blobs, strict=True)}


def _is_vector(blob: Tensor) -> bool:
    """Return whether a blob is (n) or, as old files write it, (1, 1, 1, n)."""
    return blob.shape[:-1].numel() == 1


def _shapes(layer: LayerBlobs) -> str:
    return ", ".join(str(tuple(blob.shape)) for blob in layer.blobs)


BLOB_READERS: dict[str, Callable[[LayerBlobs], Tensors | None]] = {"/bn/scale": _affine, "/bn": _statistics, "": _weight_and_bias}
"""How a layer's name ends -> its tensors under PyTorch's names, or None if its blobs are not as they should be."""


def _in_wordnet_order(tensors: Tensors) -> Tensors:
    """Sort the rows of an ImageNet classifier, which the release has in the order of the development kit."""
    order = from_devkit()
    head = {name: tensor[order] for name, tensor in tensors.items() if name.startswith("fc.") and len(tensor) == len(order)}
    return tensors | head


CAFFE = Library(
    "caffe",
    tuple(
        Release(model, name, rules, input=INPUT, convert=_in_wordnet_order)
        for model, name, rules in (
            ("se_bn_inception", "SE-BN-Inception", INCEPTION),
            ("se_resnet50", "SE-ResNet-50", RESIDUAL),
            ("se_resnet101", "SE-ResNet-101", RESIDUAL),
            ("se_resnet152", "SE-ResNet-152", RESIDUAL),
            ("se_resnext50_32x4d", "SE-ResNeXt-50", RESIDUAL),
            ("se_resnext101_32x4d", "SE-ResNeXt-101", RESIDUAL),
            ("senet154", "SENet-154", RESIDUAL),
        )
    ),
    read_caffe,
    ".caffemodel",
)
"""The authors keep the files where no program can fetch them; `caffe:FILE.caffemodel` reads one from this machine."""
