"""Competitive Squeeze-and-Excitation: CMPE-SE, whose gate weighs the residual branch against the shortcut."""

import torch
from torch import Tensor, nn
from torch.func import functional_call

from senet.blocks.initial import draw
from senet.blocks.precision import check_channels, precise, weights, without_autocast
from senet.errors import UsageError
from senet.ops import reference
from senet.spec import FOLDS, VARIANTS, Fold, Variant, check_choice, check_positive, check_variant_options, hidden_width

KERNELS = {"pair_2x1": (1, 2), "pair_1x1": (1, 1), "folded_3x3": (3, 3)}
"""Variant -> kernel over the image of both squeezes; "2x1" of the paper covers both squeezes of a channel."""


class CompetitiveSE(nn.Module):
    """Recalibrate a residual branch with gates computed from it and from its shortcut (Y. Hu et al., 1807.08920).

    "double_fc" gives each squeeze an FC of its own and excites both jointly. The others arrange the squeezes to an image: one row a
    channel, the branch first, or for "folded_3x3" (added in the authors' code) rows of channels, of branch and shortcut in turn. A
    convolution, BN and the mean over its maps read the image, then come the FCs of SE. Half-precision inputs or weights are handled
    in float32; only the gate is cast back.

    Args:
        channels: channels C of branch and shortcut.
        reduction: ratio r; the bottleneck, of each squeeze for "double_fc", is max(1, C // r) wide.
        variant: "double_fc", "pair_2x1", "pair_1x1" or "folded_3x3".
        maps: filters of the convolution; None = max(1, C // 16).
        fold: whether `fold_size` counts "rows" or "columns" that the channels are folded to; it must divide C. None = "columns".
        fold_size: how many; None = 16.
        hidden: explicit width of the bottleneck instead of `reduction`.
        bias: biases in the FCs; the authors have none. The convolution has no bias, since BN follows.

    Raises:
        UsageError: for a width below 1, an unknown name, an option that the variant does not have, a fold that does not divide the
            channels, or an image that is smaller than the 3x3.
    """

    def __init__(
        self,
        channels: int,
        reduction: int = 16,
        *,
        variant: Variant = "double_fc",
        maps: int | None = None,
        fold: Fold | None = None,
        fold_size: int | None = None,
        hidden: int | None = None,
        bias: bool = False,
    ) -> None:
        super().__init__()
        check_positive("channels", channels)
        check_choice("variant", variant, VARIANTS)
        given = {"maps": maps, "fold": fold, "fold_size": fold_size}
        check_variant_options(variant, [name for name, value in given.items() if value is not None])
        width = hidden_width(channels, reduction) if hidden is None else hidden
        check_positive("hidden", width)
        self.channels = channels
        self.hidden = width
        self.variant = variant
        if variant == "double_fc":
            self.fc_residual = nn.Linear(channels, width, bias=bias)
            self.fc_identity = nn.Linear(channels, width, bias=bias)
            self.fc_out = nn.Linear(2 * width, channels, bias=bias)
        else:
            maps = max(1, channels // 16) if maps is None else maps
            check_positive("maps", maps)
            self.columns = columns(channels, fold or "columns", 16 if fold_size is None else fold_size) if variant == "folded_3x3" else None
            height, length = (channels, 2) if self.columns is None else (2 * channels // self.columns, self.columns)
            rows, across = KERNELS[variant]
            self.conv = nn.Conv2d(1, maps, (rows, across), bias=False)
            self.bn = nn.BatchNorm2d(maps)
            self.fc1 = nn.Linear((height - rows + 1) * (length - across + 1), width, bias=bias)
            self.fc2 = nn.Linear(width, channels, bias=bias)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights as He et al. (1502.01852), set the biases to 0 and the BN to the identity: gates start around 1/2."""
        for name, layer in self.named_children():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                draw(layer, relu=name in ("fc_residual", "fc_identity", "fc1"))
            else:
                self.bn.reset_parameters()

    def gate(self, residual: Tensor, identity: Tensor) -> Tensor:
        """Compute the gate of a residual branch.

        Args:
            residual: output of the branch, (N, C), (N, C, L), (N, C, H, W) or (N, C, D, H, W).
            identity: the shortcut after its projection, of the same shape.

        Returns:
            (N, C); at least float32.

        Raises:
            UsageError: if one of them does not have `channels` channels, or their shapes differ.
        """
        check_channels(residual, self.channels)
        if identity.shape != residual.shape:
            raise UsageError(f"branch and shortcut must have one shape, got {tuple(residual.shape)} and {tuple(identity.shape)}")
        with without_autocast(residual):
            if self.variant == "double_fc":
                dtype = precise(residual, identity, self.fc_out.weight)
                u, x = (reference.squeeze_avg(tensor.to(dtype)) for tensor in (residual, identity))
                layers = (weights(layer, dtype) for layer in (self.fc_residual, self.fc_identity, self.fc_out))
                return reference.compete(u, x, *layers)
            dtype = precise(residual, identity, self.fc2.weight)
            image = reference.pair(*(reference.squeeze_avg(tensor.to(dtype)) for tensor in (residual, identity)))
            if self.columns is not None:
                image = reference.fold(image, self.columns)
            z = reference.look(image, self.conv.weight.to(dtype), self._normalise)
            return reference.excite(z, *weights(self.fc1, dtype), *weights(self.fc2, dtype))

    def forward(self, residual: Tensor, identity: Tensor) -> Tensor:
        """Return the branch with every channel multiplied by its gate; shape, type and memory format of `residual`."""
        return reference.scale(residual, self.gate(residual, identity).to(residual.dtype))

    def extra_repr(self) -> str:
        """Return what the sub-modules do not say."""
        folded = f", columns={self.columns}" if self.variant == "folded_3x3" else ""
        return f"{self.channels}, hidden={self.hidden}, variant={self.variant!r}{folded}"

    def _normalise(self, maps: Tensor) -> Tensor:
        if self.bn.weight.dtype == maps.dtype:
            return self.bn(maps)
        buffers = {name: buffer for name, buffer in self.bn.named_buffers() if buffer.is_floating_point()}
        state = {name: tensor.to(maps.dtype) for name, tensor in (*self.bn.named_parameters(), *buffers.items())}
        normalised = functional_call(self.bn, state, (maps,))
        with torch.no_grad():
            for name, buffer in buffers.items():  # the statistics were gathered in the wider type
                buffer.copy_(state[name])
        return normalised


def columns(channels: int, fold: Fold, size: int) -> int:
    """Return W, the columns that C channels are folded to, R * W = C.

    Raises:
        UsageError: if the size does not divide C, or the image of 2R rows and W columns is smaller than 3x3.
    """
    check_choice("fold", fold, FOLDS)
    check_positive("fold_size", size)
    if channels % size:
        raise UsageError(f"{channels} channels cannot be folded to {size} {fold}: fold_size must divide the channels")
    wide = {"columns": size, "rows": channels // size}[fold]
    if wide < 3 or channels // wide < 2:
        raise UsageError(
            f"{channels} channels fold to {channels // wide} rows of {wide}; the 3x3 needs at least 2 rows of 3: choose another fold_size"
        )
    return wide
