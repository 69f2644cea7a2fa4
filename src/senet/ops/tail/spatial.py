"""A residual tail with a spatial block in one operator: BN, sSE or scSE, shortcut and ReLU, in as many passes over maps as BN needs.

As u = scale x + shift, the logit of a position is sum_c w u = sum_c (w scale) x + constant: the pass that writes y computes it, the gate
q = sigmoid(logit) and y = relu(u (s + q) + shortcut) from one read of x, with s the gates of the channels, none for sSE. In the backward
pass the sums that BN needs, once as they are and once weighted by q, give the gradients of both gates (Roy et al., 1803.02579).

Names are those of `senet.ops.tail.channel`; w and b are the projection of the positions.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from senet.ops.passes.protocol import Kernels
from senet.ops.passes.terms import Coefficients, GateOfPositions, Normalised, OutputGradient, PositionCoefficients
from senet.ops.tail.batchnorm import IDENTITY, BatchNorm, normalise, scaled_by, statistics_gradient
from senet.ops.tail.gates import Excitation, Projection, excite_backward, excite_forward, with_gain
from senet.ops.tail.rows import Gradients, Output, Saved, TailTensors
from senet.ops.tail.shortcut import is_passed_on, normalised_shortcut, projected, shortcut_gradients


@dataclass(frozen=True)
class SpatialTail:
    """Tail of a unit whose block gates positions; `forward` and `backward` are its mathematics, on the passes of a backend.

    Args:
        norm: the branch's last normalisation, or None.
        gate: the excitation of the channels, or None for sSE; with it the tail is scSE's, whose recalibrated maps are added.
        projection: the projection of the positions.
        shortcut_norm: the normalisation of a projected shortcut, or None.
        relu: whether a ReLU ends the unit.
    """

    norm: BatchNorm | None
    gate: Excitation | None
    projection: Projection
    shortcut_norm: BatchNorm | None
    relu: bool

    def forward(self, kernels: Kernels, x: Tensor, r: Tensor | None) -> Output:
        """Map x (N, C, H, W) and the shortcut, a map of that shape or None, to y."""
        means, normalization, statistics = normalise(kernels, x, self.norm, squeeze=self.gate is not None)
        scale, shift = normalization.scale, normalization.shift(self.norm or IDENTITY)
        excited, s = None, None
        if self.gate is not None:
            excited = excite_forward(self.gate, scale * means + shift)
            s = with_gain(excited.gates, self.gate)
        w, bias = self.projection.weight.to(means.dtype), self.projection.bias
        b = (w * shift).sum() if bias is None else (w * shift).sum() + bias.to(means.dtype)
        shortcut, of_shortcut, shortcut_statistics = normalised_shortcut(kernels, r, self.shortcut_norm)
        branch = Normalised(x, normalization.mean, scale, shift)
        y, mask, q = kernels.apply_positions(branch, GateOfPositions(scale * w, b, s), shortcut, self.relu)
        kept = r if of_shortcut is not None else None
        saved = Saved(x, kept, mask, means, normalization, of_shortcut, excited, q, r is not None)
        return Output(y, saved, statistics, shortcut_statistics)

    def backward(self, kernels: Kernels, dy: Tensor, saved: Saved) -> Gradients:
        """Return the gradients of everything that `forward` took, given that of y and what it saved."""
        x, normalization, norm, q = saved.x, saved.normalization, self.norm or IDENTITY, saved.position_gates
        assert q is not None
        scale, positions = normalization.scale, x.shape[2] * x.shape[3]
        gradient = OutputGradient(dy, saved.relu_mask)
        branch = Normalised(x, normalization.mean, scale, normalization.shift(norm))
        sums = kernels.reduce_positions(gradient, branch, q, projected(saved), is_passed_on(saved))
        if sums.gradient is not None:
            gradient = OutputGradient(sums.gradient)
        w = self.projection.weight.to(sums.g.dtype)
        db = sums.dl.sum(3).sum(2).sum(0)  # (1,); axis by axis, so that one thread sums an axis, however many there are
        dw = scale * sums.lx.sum(0) + (0 if norm.beta is None else norm.beta * db)
        s, gate = torch.zeros_like(sums.g), None
        dbeta, dgamma = sums.gq, (sums.gqx + w * sums.lx) * normalization.inverse_std
        if self.gate is not None and saved.excited is not None:
            s = with_gain(saved.excited.gates, self.gate)
            of_gx = sums.gx * normalization.inverse_std
            dgates = scaled_by(of_gx, norm.gamma) + (0 if norm.beta is None else norm.beta * sums.g)
            gate = excite_backward(self.gate, saved.excited, dgates)
            dbeta = dbeta + s * sums.g + gate.squeeze
            dgamma = dgamma + s * of_gx + gate.squeeze * (saved.means - normalization.mean) * normalization.inverse_std
        dbeta, dgamma = dbeta.sum(0) + w * db, dgamma.sum(0)
        by_x, constant = statistics_gradient(norm, normalization, dbeta, dgamma, len(x) * positions)
        constant = constant.expand_as(s) if gate is None else constant + scale * gate.squeeze / positions
        of_channels = Coefficients((scale * s).contiguous(), by_x, constant.contiguous())
        dx = kernels.spread_positions(gradient, x, of_channels, PositionCoefficients(q, sums.dl, by_gq=scale, by_dl=scale * w))
        dr, shortcut_dgamma, shortcut_dbeta = shortcut_gradients(kernels, self.shortcut_norm, saved, gradient, sums)
        shortcut = {"shortcut_gamma": shortcut_dgamma, "shortcut_beta": shortcut_dbeta}
        weights = {} if gate is None else gate.weights
        return Gradients(dx, dr, TailTensors(dgamma, dbeta, **shortcut, **weights, position_weight=dw, position_bias=db))
