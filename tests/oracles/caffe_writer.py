"""Write .caffemodel files: protocol buffers by hand, and the layers of the official release's .prototxt files, in their order."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

VARINT, BYTES, FLOAT, DOUBLE = 0, 2, 5, 1


@dataclass(frozen=True)
class Style:
    """Variant of the format to write.

    `axpy` False combines by Scale and Eltwise; the others are of the wire: four dims instead of a shape, doubles, numbers one by one
    instead of packed.
    """

    axpy: bool = True
    legacy_dims: bool = False
    doubles: bool = False
    packed: bool = True


@dataclass(frozen=True)
class CaffeLayer:
    name: str
    type: str
    blobs: tuple[np.ndarray, ...] = ()


def varint(value: int) -> bytes:
    value &= 2**64 - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number: int, value: int | bytes | str) -> bytes:
    if isinstance(value, int):
        return varint(number << 3 | VARINT) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return b"".join((varint(number << 3 | BYTES), varint(len(value)), value))


def numbers(values: np.ndarray, style: Style) -> bytes:
    kind, number, wire = ("<f8", 8, DOUBLE) if style.doubles else ("<f4", 5, FLOAT)
    values = np.ascontiguousarray(values, kind).reshape(-1, 1)
    if style.packed:
        return field(number, values.tobytes())
    keys = np.full(values.shape, number << 3 | wire, np.uint8)
    return np.concatenate([keys, values.view(np.uint8).reshape(len(values), -1)], axis=1).tobytes()


def blob(values: np.ndarray, style: Style) -> bytes:
    if style.legacy_dims:
        dims = (1,) * (4 - values.ndim) + values.shape
        return b"".join(field(index, dim) for index, dim in enumerate(dims, 1)) + numbers(values, style)
    dims = b"".join(map(varint, values.shape))
    shape = field(1, dims) if style.packed else b"".join(field(1, dim) for dim in values.shape)
    return numbers(values, style) + field(7, shape)


def layer(described: CaffeLayer, style: Style) -> bytes:
    blobs = [blob(values, style) for values in described.blobs]
    content = field(1, described.name) + field(2, described.type) + field(3, "below") + field(4, "above") + field(6, field(3, b"\0\0\x80?"))
    return field(100, content + b"".join(field(7, value) for value in blobs) + field(10, 1) + field(106, field(1, 64)))


def network(layers: Sequence[CaffeLayer], style: Style = Style()) -> bytes:
    return b"".join([field(1, "a network"), field(5, 0), *(layer(described, style) for described in layers)])


def floats(*values: object) -> np.ndarray:
    return np.array(values, np.float32)


LAYERS = [
    CaffeLayer("data", "Input"),
    CaffeLayer("conv", "Convolution", (np.random.default_rng(0).normal(size=(4, 3, 2, 2)).astype(np.float32), floats(1, 2, 3, 4))),
    CaffeLayer("conv/bn", "BatchNorm", (floats(1, -2), floats(3, 4), floats(999.5))),
    CaffeLayer("classifier", "InnerProduct", (floats([1, 2], [3, 4], [5, 6]), floats(0, 1, 2))),
]
STYLES = [Style(True, *options) for options in product([False, True], repeat=3)]
"""A small network, and the forms in which it can be written."""


class ReleaseWriter:
    """Writer of the layers of one of the release's networks from a state dict of ours, as arrays.

    Args:
        state: the state dict.
        devkit: for each row of the classifier, its place in the file.
        axpy: see `Style`.
        seed: draws the factors of the BatchNorm layers.
    """

    def __init__(self, state: Mapping[str, np.ndarray], devkit: np.ndarray, axpy: bool = True, seed: int = 0) -> None:
        self.state, self.devkit, self.axpy = state, devkit, axpy
        self.random = np.random.default_rng(seed)
        self.expected = dict(state)
        """The state dict that the file's numbers amount to, factors divided out."""

    def conv(self, name: str, ours: str, norm: str, relu: str | None = None) -> Iterator[CaffeLayer]:
        """Give a convolution, its BatchNorm, its Scale and perhaps its ReLU."""
        factor = np.float32(self.random.uniform(0.3, 1000))
        sums = []
        for part in ("running_mean", "running_var"):
            sums.append((self.state[f"{norm}.{part}"].astype(np.float64) * factor).astype(np.float32))
            self.expected[f"{norm}.{part}"] = (sums[-1].astype(np.float64) / np.float64(factor)).astype(np.float32)
        yield CaffeLayer(name, "Convolution", (self.state[f"{ours}.weight"],))
        yield CaffeLayer(f"{name}/bn", "BatchNorm", (*sums, np.array([factor])))
        yield CaffeLayer(f"{name}/bn/scale", "Scale", (self.state[f"{norm}.weight"], self.state[f"{norm}.bias"]))
        if relu is not None:
            yield CaffeLayer(relu, "ReLU")

    def gate(self, name: str, ours: str) -> Iterator[CaffeLayer]:
        """Give the layers of an SE block up to its sigmoid; its linear layers are 1x1 convolutions."""
        yield CaffeLayer(f"{name}_global_pool", "Pooling")
        for part, fc in (("1x1_down", "fc1"), ("1x1_up", "fc2")):
            weight, bias = (self.state[f"{ours}.{fc}.{which}"] for which in ("weight", "bias"))
            yield CaffeLayer(f"{name}_{part}", "Convolution", (weight[:, :, None, None], bias))
            if fc == "fc1":
                yield CaffeLayer(f"{name}_{part}/relu", "ReLU")
        yield CaffeLayer(f"{name}_prob", "Sigmoid")

    def head(self) -> Iterator[CaffeLayer]:
        yield CaffeLayer("pool5/7x7_s1", "Pooling")
        blobs = []
        for part in ("weight", "bias"):
            rows = np.empty_like(self.state[f"fc.{part}"])
            rows[self.devkit] = self.state[f"fc.{part}"]
            blobs.append(rows)
        yield CaffeLayer("classifier", "InnerProduct", tuple(blobs))
        yield CaffeLayer("prob", "Softmax")

    def residual(self, counts: Sequence[int], deep_stem: bool) -> Iterator[CaffeLayer]:
        """Give the layers of SE-ResNets and SE-ResNeXts, or (`deep_stem`) of SENet-154."""
        yield CaffeLayer("data", "Input")
        if deep_stem:
            yield from self.conv("conv1_1/3x3_s2", "conv1.0", "conv1.1", "conv1_1/relu_3x3_s2")
            yield from self.conv("conv1_2/3x3", "conv1.3", "conv1.4", "conv1_2/relu_3x3")
            yield from self.conv("conv1_3/3x3", "conv1.6", "bn1", "conv1_3/relu_3x3")
        else:
            yield from self.conv("conv1/7x7_s2", "conv1", "bn1", "conv1/relu_7x7_s2")
        yield CaffeLayer("pool1/3x3_s2", "Pooling")
        for stage, count in enumerate(counts, start=2):
            for unit in range(1, count + 1):
                yield from self.bottleneck(f"conv{stage}_{unit}", f"layer{stage - 1}.{unit - 1}", first=unit == 1)
        yield from self.head()

    def bottleneck(self, name: str, ours: str, first: bool) -> Iterator[CaffeLayer]:
        yield from self.conv(f"{name}_1x1_reduce", f"{ours}.conv1", f"{ours}.bn1", f"{name}_1x1_reduce/relu")
        yield from self.conv(f"{name}_3x3", f"{ours}.conv2", f"{ours}.bn2", f"{name}_3x3/relu")
        yield from self.conv(f"{name}_1x1_increase", f"{ours}.conv3", f"{ours}.bn3")
        yield from self.gate(name, f"{ours}.se")
        if first:
            yield from self.conv(f"{name}_1x1_proj", f"{ours}.downsample.0", f"{ours}.downsample.1")
        combined = [(name, "Axpy")] if self.axpy else [(f"{name}_prob_reshape", "Reshape"), (f"{name}_scale", "Scale"), (name, "Eltwise")]
        yield from (CaffeLayer(*pair) for pair in combined)
        yield CaffeLayer(f"{name}/relu", "ReLU")

    def inception(self) -> Iterator[CaffeLayer]:
        """Give the layers of SE-BN-Inception."""
        yield CaffeLayer("data", "Input")
        yield from self.conv("conv1/7x7_s2", "conv1.conv", "conv1.bn", "conv1/relu_7x7")
        yield CaffeLayer("pool1/3x3_s2", "Pooling")
        yield from self.conv("conv2/3x3_reduce", "conv2_reduce.conv", "conv2_reduce.bn", "conv2/relu_3x3_reduce")
        yield from self.conv("conv2/3x3", "conv2.conv", "conv2.bn", "conv2/relu_3x3")
        yield CaffeLayer("pool2/3x3_s2", "Pooling")
        for module in ("3a", "3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b"):
            yield from self.module(f"inception_{module}", f"stage{module[0]}.{module[1]}", halves=module in ("3c", "4e"))
        yield from self.head()

    def module(self, name: str, ours: str, halves: bool) -> Iterator[CaffeLayer]:
        places = {"1x1": "1x1.0", "3x3_reduce": "3x3.0", "3x3": "3x3.1"}
        places |= {"double3x3_reduce": "double_3x3.0", "double3x3a": "double_3x3.1", "double3x3b": "double_3x3.2", "pool_proj": "pool.1"}
        for part, place in places.items():
            if halves and part in ("1x1", "pool_proj"):
                continue
            unit = f"{ours}.branches.{place}"
            yield from self.conv(f"{name}/{part}", f"{unit}.conv", f"{unit}.bn", f"{name}/relu_{part}")
        yield CaffeLayer(f"{name}/concat", "Concat")
        yield from self.gate(name, f"{ours}.se")
        yield CaffeLayer(f"{name}_prob_reshape", "Reshape")
        yield CaffeLayer(f"{name}_scale", "Scale")
