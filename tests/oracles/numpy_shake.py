"""Shake-shake networks in evaluation mode, slowly and in NumPy, from the layer lists of the authors' Lua code.

Nothing here is shared with the package. Both 1x1 convolutions of a shortcut are written out, with the average pooling and the zero padding
of the original. `p` holds the arrays of a state dict.
"""

import numpy as np

from oracles.numpy_blocks import Array, Parameters, dense, rectify, sigmoid


def convolve(x: Array, weight: Array, stride: int = 1, groups: int = 1) -> Array:
    """Correlate (N, C, H, W) with (O, C / groups, k, k), zero-padded by k // 2: one output position at a time."""
    n, channels, height, width = x.shape
    outputs, _, kernel, _ = weight.shape
    padded = np.pad(x, ((0, 0), (0, 0), (kernel // 2,) * 2, (kernel // 2,) * 2))
    rows, columns = (height - 1) // stride + 1, (width - 1) // stride + 1
    out = np.zeros((n, outputs, rows, columns))
    for group in range(groups):
        own = slice(group * channels // groups, (group + 1) * channels // groups)
        filters = slice(group * outputs // groups, (group + 1) * outputs // groups)
        for i in range(rows):
            for j in range(columns):
                window = padded[:, own, i * stride : i * stride + kernel, j * stride : j * stride + kernel]
                out[:, filters, i, j] = np.einsum("nchw,ochw->no", window, weight[filters])
    return out


def normalise(x: Array, p: Parameters, name: str) -> Array:
    """BN with its running statistics."""
    gamma, beta, mean, var = (p[f"{name}.{part}"][:, None, None] for part in ("weight", "bias", "running_mean", "running_var"))
    return gamma * (x - mean) / np.sqrt(var + 1e-5) + beta


def branch(x: Array, p: Parameters, name: str, strides: tuple[int, ...], groups: int) -> Array:
    """Convolutions with BN and ReLU between them; the second of three is grouped."""
    for number, stride in enumerate(strides, start=1):
        x = rectify(x) if number > 1 else x
        grouped = groups if len(strides) == 3 and number == 2 else 1
        x = normalise(convolve(x, p[f"{name}.conv{number}.weight"], stride, grouped), p, f"{name}.bn{number}")
    return x


def two_paths(x: Array, p: Parameters, name: str, stride: int) -> Array:
    """ReLU'd map -> two 1x1 average poolings, of which the second sees it one pixel further right and down -> 1x1 convolutions -> BN."""
    shifted = np.zeros_like(x)
    shifted[:, :, 1:, 1:] = x[:, :, :-1, :-1]
    first, second = np.split(p[f"{name}.conv.weight"], 2)
    paths = [convolve(pooled[:, :, ::stride, ::stride], weight) for pooled, weight in ((x, first), (shifted, second))]
    return normalise(np.concatenate(paths, axis=1), p, f"{name}.bn")


def recalibrate(x: Array, p: Parameters, name: str) -> Array:
    """SE, if there is one."""
    if f"{name}.fc1.weight" not in p:
        return x
    gate = sigmoid(dense(rectify(dense(x.mean((2, 3)), p, f"{name}.fc1")), p, f"{name}.fc2"))
    return x * gate[:, :, None, None]


def shake_unit(x: Array, p: Parameters, name: str, stride: int) -> Array:
    """The 26-layer networks': ReLU at the start of each path that is not the identity, none behind the sum."""
    activated = rectify(x)
    mixed = sum(branch(activated, p, f"{name}.{path}", (stride, 1), 1) for path in ("branch1", "branch2")) / 2
    shortcut = two_paths(activated, p, f"{name}.downsample", stride) if f"{name}.downsample.conv.weight" in p else x
    return shortcut + recalibrate(mixed, p, f"{name}.se")


def even_unit(x: Array, p: Parameters, name: str, stride: int, groups: int) -> Array:
    """The 29-layer network's: bottlenecks, ReLU behind the sum."""
    mixed = sum(branch(x, p, f"{name}.{path}", (1, stride, 1), groups) for path in ("branch1", "branch2")) / 2
    changed = f"{name}.downsample.0.weight" in p
    shortcut = normalise(convolve(x, p[f"{name}.downsample.0.weight"], stride), p, f"{name}.downsample.1") if changed else x
    return rectify(shortcut + recalibrate(mixed, p, f"{name}.se"))


def shake_network(x: Array, p: Parameters, units: int) -> Array:
    """Images -> logits, `units` in each of three stages."""
    x = normalise(convolve(x, p["conv1.weight"]), p, "bn1")
    for stage in (1, 2, 3):
        for index in range(units):
            x = shake_unit(x, p, f"layer{stage}.{index}", 2 if stage > 1 and index == 0 else 1)
    return dense(rectify(x).mean((2, 3)), p, "fc")


def even_network(x: Array, p: Parameters, units: int, groups: int) -> Array:
    """Images -> logits, `units` in each of three stages."""
    x = rectify(normalise(convolve(x, p["conv1.weight"]), p, "bn1"))
    for stage in (1, 2, 3):
        for index in range(units):
            x = even_unit(x, p, f"layer{stage}.{index}", 2 if stage > 1 and index == 0 else 1, groups)
    return dense(x.mean((2, 3)), p, "fc")
