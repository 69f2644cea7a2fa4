"""The F-CNNs against a second form, written from the papers' description: pools by reshaping, no indices, norms by their formula."""

import itertools
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from senet import BlockSpec, create_model

Weights = Mapping[str, Tensor]

NETWORKS = {
    "unet": ("unet", {"convs": 1}, (11, 6)),
    "unet batch": ("unet", {"norm": "batch", "upsample": "transposed", "convs": 2}, (9, 8)),
    "unet instance": ("unet", {"norm": "instance", "convs": 1}, (13, 10)),
    "sd_net": ("sd_net", {}, (11, 6)),
    "fc_densenet": ("fc_densenet", {}, (7, 9)),
    "unet3d": ("unet3d", {"convs": 2}, (5, 6, 7)),
    "unet3d batch": ("unet3d", {"norm": "batch", "upsample": "transposed", "convs": 1}, (5, 6, 4)),
}


def of(weights: Weights, prefix: str) -> dict[str, Tensor]:
    """Return the weights below a prefix, without it."""
    return {key.removeprefix(f"{prefix}."): tensor for key, tensor in weights.items() if key.startswith(f"{prefix}.")}


def conv(x: Tensor, weights: Weights) -> Tensor:
    """Return the sum of shifted, weighted maps."""
    kernel, bias = weights["weight"], weights["bias"]
    sides, reach = kernel.shape[2:], kernel.shape[2] // 2
    padded = F.pad(x, [reach] * 2 * len(sides))
    y = torch.zeros(len(x), len(kernel), *x.shape[2:], dtype=x.dtype)
    for at in itertools.product(*map(range, sides)):
        part = padded[(..., *(slice(start, start + side) for start, side in zip(at, x.shape[2:], strict=True)))]
        y = y + torch.einsum("nc...,oc->no...", part, kernel[(..., *at)])
    return y + over(bias, y)


def over(v: Tensor, x: Tensor) -> Tensor:
    """Shape (C,) or (N, C) so that it applies to maps."""
    return v.reshape(*([1] * (2 - v.ndim)), *v.shape, *[1] * (x.ndim - 2))


def norm(x: Tensor, weights: Weights, axes: tuple[int, ...]) -> Tensor:
    centred = x - x.mean(axes, keepdim=True)
    unit = centred / (centred.square().mean(axes, keepdim=True) + 1e-5).sqrt()
    return unit * over(weights["weight"], x) + over(weights["bias"], x)


def batch_norm(x: Tensor, weights: Weights) -> Tensor:
    return norm(x, weights, (0, *range(2, x.ndim)))


def instance_norm(x: Tensor, weights: Weights) -> Tensor:
    return norm(x, weights, tuple(range(2, x.ndim)))


def recalibrated(x: Tensor, weights: Weights, combine: str) -> Tensor:
    hidden = (x.flatten(2).mean(2) @ weights["cse.fc1.weight"].T + weights["cse.fc1.bias"]).clamp(min=0)
    channels = over((hidden @ weights["cse.fc2.weight"].T + weights["cse.fc2.bias"]).sigmoid(), x)
    positions = ((x * over(weights["sse.conv.weight"].flatten(), x)).sum(1, keepdim=True) + weights["sse.conv.bias"]).sigmoid()
    return torch.maximum(x * channels, x * positions) if combine == "max" else x * (channels + positions)


def doubled(x: Tensor, size: torch.Size) -> Tensor:
    for axis, side in enumerate(size, start=2):
        x = x.repeat_interleave(2, axis).narrow(axis, 0, side)
    return x


def pooled(x: Tensor) -> Tensor:
    """Return the maxima of pairs, axis by axis."""
    for axis in range(2, x.ndim):
        x = torch.cat((x, torch.full_like(x.narrow(axis, 0, 1), -torch.inf)), axis) if x.shape[axis] % 2 else x
        x = x.unflatten(axis, (-1, 2)).amax(axis + 1)
    return x


def up_convolution(x: Tensor, weights: Weights, size: torch.Size) -> Tensor:
    """Return the map of which every value is the kernel's tap for its place in its pair, applied to the pair's value."""
    y = torch.zeros(len(x), weights["weight"].shape[1], *(2 * side for side in x.shape[2:]), dtype=x.dtype)
    for at in itertools.product((0, 1), repeat=x.ndim - 2):
        taps = torch.zeros_like(y)
        taps[(..., *(slice(start, None, 2) for start in at))] = torch.einsum("nc...,co->no...", x, weights["weight"][(..., *at)])
        y = y + taps
    y = y + over(weights["bias"], y)
    return y[(..., *map(slice, size))]


def unit(x: Tensor, weights: Weights, name: str, options: Mapping[str, Any]) -> Tensor:
    """Return what the convolutions of a stage make of its input."""
    if name == "sd_net":
        x = conv(x, of(weights, "conv"))
        return batch_norm(x.clamp(min=0) + weights["activation.weight"] * x.clamp(max=0), of(weights, "norm"))
    if name == "fc_densenet":
        seen = [x]
        for index in range(3):
            y = batch_norm(torch.cat(seen, 1), of(weights, f"norms.{index}"))
            seen.append(conv(y.clamp(min=0) + weights["activation.weight"] * y.clamp(max=0), of(weights, f"convs.{index}")))
        return seen[-1]
    normalise = {"batch": batch_norm, "instance": instance_norm}.get(options.get("norm", ""))
    for index in range(options["convs"]):
        place = index * (2 if normalise is None else 3)
        x = conv(x, of(weights, f"layers.{place}"))
        x = (x if normalise is None else normalise(x, of(weights, f"layers.{place + 1}"))).clamp(min=0)
    return x


def network(x: Tensor, weights: Weights, name: str, options: Mapping[str, Any], combine: str) -> Tensor:
    """Return the logits of a network of depth 2."""
    skips = []
    for level in (1, 2):
        stage = of(weights, f"encoder{level}")
        skips.append(recalibrated(unit(x, stage, name, options), of(stage, "se"), combine))
        x = pooled(skips[-1])
    x = unit(x, of(weights, "bottleneck"), name, options)
    for level in (1, 2):
        skip, stage = skips.pop(), of(weights, f"decoder{level}")
        if name in ("sd_net", "fc_densenet"):  # a value returns to where the skip has its window's maximum
            x = doubled(x, skip.shape[2:]) * (skip == doubled(pooled(skip), skip.shape[2:]))
        elif options.get("upsample") == "transposed":
            x = up_convolution(x, of(weights, f"up{level}.conv"), skip.shape[2:])
            x = batch_norm(x, of(weights, f"up{level}.norm")).clamp(min=0)
        else:
            x = doubled(x, skip.shape[2:])
        x = recalibrated(unit(torch.cat((skip, x), 1), stage, name, options), of(stage, "se"), combine)
    return conv(x, of(weights, "classifier"))


@pytest.mark.parametrize("combine", ["add", "max"])
@pytest.mark.parametrize("form", NETWORKS)
def test_values_and_every_gradient(form: str, combine: str) -> None:
    name, options, size = NETWORKS[form]
    torch.manual_seed(0)
    block = BlockSpec("scse", combine=combine)
    model: Any = create_model(name, width=4, depth=2, kernel=3, in_channels=2, num_classes=3, block=block, **options).double()
    for p in model.parameters():
        if p.ndim < 2:
            torch.nn.init.normal_(p, 0.5, 0.3)
    x = torch.randn(2, 2, *size, dtype=torch.float64, requires_grad=True)
    weights = dict(model.named_parameters())
    dy = torch.randn(2, 3, *size, dtype=torch.float64)
    y, want = model(x), network(x, weights, name, options, combine)
    torch.testing.assert_close(y, want, rtol=1e-12, atol=1e-12)
    leaves = [x, *weights.values()]
    found, right = (torch.autograd.grad(logits, leaves, dy) for logits in (y, want))
    for key, one, other in zip(("images", *weights), found, right, strict=True):
        scale = max(1.0, other.abs().max().item())
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-12 * scale, msg=lambda text, key=key: f"{key}: {text}")
