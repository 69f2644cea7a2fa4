"""A residual tail in one operator: BN, SE, shortcut and ReLU without passes of their own.

The squeeze of BN(x) is affine in the means of x, from which BN has its statistics too, so SE needs no pass over the map that BN does not
make; in the backward pass the sums that BN needs give the gate's gradient. Only x and y are kept, and r for a projected shortcut.

x is the output of the branch's last convolution, r the shortcut, u = scale x + shift the output of BN, its squeeze scale means + shift,
s the gates (Hu et al., 1709.01507, eq. 2-4), y = relu(s u + shortcut). dv stands for the gradient of the loss by v.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from senet.ops.passes.protocol import Kernels, whole_tails
from senet.ops.passes.terms import Centred, Coefficients, OutputGradient
from senet.ops.tail.batchnorm import IDENTITY, BatchNorm, normalise, scaled_by, statistics_gradient
from senet.ops.tail.gates import Excitation, excite_backward, excite_forward, with_gain
from senet.ops.tail.rows import Gradients, Output, Saved, TailTensors
from senet.ops.tail.shortcut import is_passed_on, normalised_shortcut, projected, shortcut_gradients


@dataclass(frozen=True)
class ChannelTail:
    """Tail of a plain unit, or of one whose block gates channels; `forward` and `backward` are its mathematics, on a backend's passes.

    Args:
        norm: the branch's last normalisation, or None.
        gate: the excitation, or None for a plain unit.
        shortcut_norm: the normalisation of a projected shortcut, or None.
        relu: whether a ReLU ends the unit.
    """

    norm: BatchNorm | None
    gate: Excitation | None
    shortcut_norm: BatchNorm | None
    relu: bool

    def forward(self, kernels: Kernels, x: Tensor, r: Tensor | None) -> Output:
        """Map x (N, C, H, W) and the shortcut, a map of that shape or None, to y."""
        found = whole_tails(kernels)
        whole = None if found is None else found.channel_forward(self, x, r)
        return whole or self._forward(kernels, x, r)

    def _forward(self, kernels: Kernels, x: Tensor, r: Tensor | None) -> Output:
        means, normalization, statistics = normalise(kernels, x, self.norm, squeeze=self.gate is not None)
        shift = normalization.shift(self.norm or IDENTITY)
        excited = None if self.gate is None else excite_forward(self.gate, normalization.scale * means + shift)
        s = means.new_ones(()) if self.gate is None or excited is None else with_gain(excited.gates, self.gate)
        scale, shift = (torch.broadcast_to(s * v, means.shape).contiguous() for v in (normalization.scale, shift))
        shortcut, of_shortcut, shortcut_statistics = normalised_shortcut(kernels, r, self.shortcut_norm)
        y, mask = kernels.apply(x, scale, shift, shortcut, self.relu)
        kept = r if of_shortcut is not None else None
        saved = Saved(x, kept, mask, means, normalization, of_shortcut, excited, None, r is not None)
        return Output(y, saved, statistics, shortcut_statistics)

    def backward(self, kernels: Kernels, dy: Tensor, saved: Saved) -> Gradients:
        """Return the gradients of everything that `forward` took, given that of y and what it saved."""
        found = whole_tails(kernels)
        whole = None if found is None else found.channel_backward(self, dy, saved)
        return whole or self._backward(kernels, dy, saved)

    def _backward(self, kernels: Kernels, dy: Tensor, saved: Saved) -> Gradients:
        x, normalization, norm = saved.x, saved.normalization, self.norm or IDENTITY
        positions = x.shape[2] * x.shape[3]
        gradient = OutputGradient(dy, saved.relu_mask)
        sums = kernels.reduce(gradient, Centred(x, normalization.mean), projected(saved), is_passed_on(saved))
        if sums.gradient is not None:
            gradient = OutputGradient(sums.gradient)
        of_g, of_gx = sums.g, sums.gx * normalization.inverse_std
        s, gate = torch.ones_like(of_g), None
        if self.gate is not None and saved.excited is not None:
            s = with_gain(saved.excited.gates, self.gate)
            dgates = scaled_by(of_gx, norm.gamma) + (0 if norm.beta is None else norm.beta * of_g)
            gate = excite_backward(self.gate, saved.excited, dgates)
        dbeta, dgamma = s * of_g, s * of_gx
        if gate is not None:
            dbeta = dbeta + gate.squeeze
            dgamma = dgamma + gate.squeeze * (saved.means - normalization.mean) * normalization.inverse_std
        dbeta, dgamma = dbeta.sum(0), dgamma.sum(0)
        by_x, constant = statistics_gradient(norm, normalization, dbeta, dgamma, len(x) * positions)
        constant = constant.expand_as(of_g) if gate is None else constant + normalization.scale * gate.squeeze / positions
        dx = kernels.spread(gradient, x, Coefficients((normalization.scale * s).contiguous(), by_x, constant.contiguous()))
        dr, shortcut_dgamma, shortcut_dbeta = shortcut_gradients(kernels, self.shortcut_norm, saved, gradient, sums)
        weights = {} if gate is None else gate.weights
        return Gradients(dx, dr, TailTensors(dgamma, dbeta, shortcut_gamma=shortcut_dgamma, shortcut_beta=shortcut_dbeta, **weights))
