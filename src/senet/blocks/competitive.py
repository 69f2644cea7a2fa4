"""Competitive Squeeze-and-Excitation: CMPE-SE, whose gate weighs the residual branch against the shortcut."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from senet.blocks.initialise import init_fan_in_, zero_
from senet.blocks.layers import call, check_channels, gate_type, widths
from senet.blocks.layout import ImageWeights
from senet.blocks.precision import without_autocast
from senet.errors import UsageError
from senet.ops import reference
from senet.spec import check_choice, check_positive, hidden_width

CompetitiveVariant = Literal["double_fc", "pair_2x1", "pair_1x1", "folded_3x3"]
Fold = Literal["rows", "columns"]

KERNELS = {"pair_2x1": (1, 2), "pair_1x1": (1, 1), "folded_3x3": (3, 3)}
"""Variant -> kernel over the image of both squeezes; "2x1" of the paper covers both squeezes of a channel."""

VARIANT_OPTIONS = {"double_fc": (), "pair_2x1": ("maps",), "pair_1x1": ("maps",), "folded_3x3": ("maps", "fold", "fold_size")}
"""The options of each variant, beside those that all of them have."""


class CompetitiveSE(ImageWeights):
    """Recalibration of a residual branch by gates computed from it and from its shortcut (Y. Hu et al., 1807.08920).

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

    title = "CMPE-SE"
    paper = ("Y. Hu et al.: Competitive Inner-Imaging Squeeze and Excitation for Residual Network", "1807.08920")
    placements = ("standard",)  # it rescales the branch by what it sees of branch and shortcut
    sees_shortcut = True
    squeezed_maps = 2
    scaled_maps = 1
    has_channel_gates = True
    stateless_options = {"variant": "variant"}

    def __init__(
        self,
        channels: int,
        reduction: int = 16,
        *,
        variant: CompetitiveVariant = "double_fc",
        maps: int | None = None,
        fold: Fold | None = None,
        fold_size: int | None = None,
        hidden: int | None = None,
        bias: bool = False,
    ) -> None:
        super().__init__()
        channels = check_positive("channels", channels)
        check_choice("variant", variant, get_args(CompetitiveVariant))
        given = {"maps": maps, "fold": fold, "fold_size": fold_size}
        self.check_options({"variant": variant} | {name: value for name, value in given.items() if value is not None})
        width = hidden_width(channels, reduction) if hidden is None else check_positive("hidden", hidden)
        self.variant = variant
        if variant == "double_fc":
            self.fc_residual = nn.Linear(channels, width, bias=bias)
            self.fc_identity = nn.Linear(channels, width, bias=bias)
            self.fc_out = nn.Linear(2 * width, channels, bias=bias)
        else:
            maps = max(1, channels // 16) if maps is None else check_positive("maps", maps)
            self.columns = columns(channels, fold or "columns", 16 if fold_size is None else fold_size) if variant == "folded_3x3" else None
            height, length = (channels, 2) if self.columns is None else (2 * channels // self.columns, self.columns)
            rows, across = KERNELS[variant]
            self.conv = nn.Conv2d(1, maps, (rows, across), bias=False)
            self.bn = nn.BatchNorm2d(maps)
            self.fc1 = nn.Linear((height - rows + 1) * (length - across + 1), width, bias=bias)
            self.fc2 = nn.Linear(width, channels, bias=bias)
        self.reset_parameters()

    @property
    def channels(self) -> int:
        """Channels C of branch and shortcut."""
        return widths(self.last)[0]

    @property
    def hidden(self) -> int:
        """Width of the bottleneck, of each squeeze for "double_fc"."""
        return widths(self.fc_residual if self.variant == "double_fc" else self.fc1)[0]

    @property
    def last(self) -> nn.Linear:
        """The layer before the gate."""
        return self.fc_out if self.variant == "double_fc" else self.fc2

    @staticmethod
    def check_options(options: Mapping[str, Any]) -> None:
        """Raise UsageError if an option is one that other variants have, but not the chosen one."""
        variant = options.get("variant", "double_fc")
        for option in options:
            having = [name for name, own in VARIANT_OPTIONS.items() if option in own]
            if having and variant not in having:
                raise UsageError(f"the variant {variant!r} of CMPE-SE has no option {option!r}; these have: {', '.join(having)}")

    @staticmethod
    def accept_defaults(options: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
        """Return the defaults that the chosen variant has; a `fold_size` goes with its `fold`, not with the other one."""
        foreign = set().union(*VARIANT_OPTIONS.values()) - set(VARIANT_OPTIONS[options.get("variant", "double_fc")])
        if options.get("fold", defaults.get("fold")) != defaults.get("fold"):
            foreign.add("fold_size")
        return {name: value for name, value in defaults.items() if name not in foreign}

    def reset_parameters(self) -> None:
        """Draw the weights as He et al. (1502.01852), set the biases to 0 and the BN to the identity: gates start around 1/2."""
        for name, layer in self.named_children():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                init_fan_in_(layer, relu=name in ("fc_residual", "fc_identity", "fc1"))
            else:
                self.bn.reset_parameters()

    @torch.no_grad()
    def start_as_identity(self) -> float:
        """Set the last layer so that every gate is 1/2, and return the factor 2 that belongs behind it."""
        zero_(self.last)
        return 2.0

    def tail_gates(self, gain: float = 1.0) -> None:
        """Return None: the gate needs the squeeze of the shortcut too, which the fused residual tail does not take."""

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
        check_channels(identity, self.channels)
        with without_autocast(residual):
            u, x = (reference.squeeze_avg(tensor, gate_type(self.last, residual, identity)) for tensor in (residual, identity))
            if self.variant == "double_fc":
                return reference.compete(u, x, *(partial(call, fc) for fc in (self.fc_residual, self.fc_identity, self.fc_out)))
            image = reference.pair(u, x)
            if self.columns is not None:
                image = reference.fold(image, self.columns)
            z = reference.filter_pairs(image, partial(call, self.conv), partial(call, self.bn))
            return reference.excite(z, partial(call, self.fc1), partial(call, self.fc2))

    def forward(self, residual: Tensor, identity: Tensor) -> Tensor:
        """Return the branch with every channel multiplied by its gate; shape, type and memory format of `residual`."""
        return reference.scale(residual, self.gate(residual, identity).to(residual.dtype))

    def extra_repr(self) -> str:
        """Return what the sub-modules do not say."""
        folded = f", columns={self.columns}" if self.variant == "folded_3x3" else ""
        return f"{self.channels}, hidden={self.hidden}, variant={self.variant!r}{folded}"


def columns(channels: int, fold: Fold, size: int) -> int:
    """Return W, the columns that C channels are folded to, R * W = C.

    Raises:
        UsageError: if the size does not divide C, or the image of 2R rows and W columns is smaller than 3x3.
    """
    check_choice("fold", fold, get_args(Fold))
    size = check_positive("fold_size", size)
    if channels % size:
        raise UsageError(f"{channels} channels cannot be folded to {size} {fold}: fold_size must divide the channels")
    wide = {"columns": size, "rows": channels // size}[fold]
    if wide < 3 or channels // wide < 2:
        raise UsageError(
            f"{channels} channels fold to {channels // wide} rows of {wide}; the 3x3 needs at least 2 rows of 3: choose another fold_size"
        )
    return wide
