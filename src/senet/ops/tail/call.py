"""The end of a residual unit: normalise, recalibrate, add the shortcut, rectify. Every residual network calls it once a unit."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from senet.ops.backend import requested
from senet.ops.passes.maps import layout
from senet.ops.tail.batchnorm import as_data, update_running
from senet.ops.tail.channel import ChannelTail
from senet.ops.tail.form import Form, tail_of, tensors_of
from senet.ops.tail.fusible import Map, TailModules, implementation, is_relu, is_traced, pair_implementation, takes
from senet.ops.tail.gates import Gates
from senet.ops.tail.worthwhile import is_worthwhile


def residual_tail(
    branch: Tensor,
    shortcut: Tensor,
    *,
    norm: Map | None = None,
    shortcut_norm: Map | None = None,
    recalibrate: Callable[..., Tensor] | None = None,
    pairwise: bool = False,
    placement: str = "standard",
    relu: bool = True,
) -> Tensor:
    """Join a residual branch u = norm(branch) and a shortcut x' = shortcut_norm(shortcut).

    Where BN, SE and ReLU allow it this is one operator, see `senet.ops.tail.channel`; `senet.backend` says by which backend.

    Args:
        branch: output of the branch's last convolution, (N, C, H, W).
        shortcut: input of the unit, or the output of its projection's convolution, (N, C, H, W).
        norm: the branch's last normalisation; pre-activation units have none.
        shortcut_norm: the projection's normalisation, if it has one.
        recalibrate: the unit's block, if it has one.
        pairwise: whether the block sees branch and shortcut, as CMPE-SE does: SE(u, x') in the place of SE(u). It takes "standard" only.
        placement: where the block acts (Hu et al., Figure 5); "pre" and "inner" act before the tail, so that it only adds.
        relu: whether the unit ends in a ReLU (post-activation form).

    Returns:
        With f = ReLU or the identity: "standard" f(x' + SE(u)), "identity" f(SE(x') + u), "post" SE(f(x' + u)), else f(x' + u).
    """
    block = None if placement in ("pre", "inner") else recalibrate
    if placement in ("standard", "pre", "inner") and not pairwise and not is_traced(branch, shortcut):
        y = _fused(branch, shortcut, TailModules(norm, shortcut_norm, block, relu=relu))
        if y is not None:
            return y
    u, x = branch if norm is None else norm(branch), shortcut if shortcut_norm is None else shortcut_norm(shortcut)
    if block is not None and placement == "standard":
        u = block(u, x) if pairwise else block(u)
    elif block is not None and placement == "identity":
        x = block(x)
    y = torch.relu(u + x) if relu else u + x
    return block(y) if block is not None and placement == "post" else y


def recalibrated_norm(x: Tensor, norm: Map, recalibrate: Map, gain: float = 1.0) -> Tensor:
    """Return gain SE(norm(x)), in one operator where `residual_tail` would be one. x: (N, C, H, W)."""
    y = None if is_traced(x) else _fused(x, None, TailModules(norm, recalibrate=recalibrate, gain=gain))
    if y is not None:
        return y
    y = recalibrate(norm(x))
    return y if gain == 1 else y * gain


def activated_norm(x: Tensor, norm: Map, relu: Map = torch.relu) -> Tensor:
    """Return relu(norm(x)), in one operator where `residual_tail` would be one. x: (N, C, H, W).

    Args:
        x: output of a convolution.
        norm: the normalisation.
        relu: the ReLU as a function or a layer; another non-linearity, or a layer with hooks, runs the definition.
    """
    by_compiler = torch.compiler.is_compiling() and requested() is None  # Inductor fuses these two with what surrounds them
    fusible = is_relu(relu) and not by_compiler and not is_traced(x)
    y = _fused(x, None, TailModules(norm, relu=True)) if fusible else None
    return relu(norm(x)) if y is None else y


def preactivated_tail(branch: Tensor, shortcut: Tensor, *, recalibrate: nn.Module | None, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Return v = SE(branch) + shortcut and a = relu(norm(v)).

    Where BN and SE allow it this is one operator, see `senet.ops.tail.preactivated`.

    Args:
        branch: output of the branch's last convolution, (N, C, H, W).
        shortcut: of the same shape.
        recalibrate: the unit's block, if it has one.
        norm: the normalisation behind the sum.
    """
    modules = TailModules(norm, recalibrate=recalibrate)
    gates = _pair_gates(branch, shortcut, modules)
    run = None if gates is None else pair_implementation(branch, modules, gates)
    if gates is None or run is None:
        v = residual_tail(branch, shortcut, recalibrate=recalibrate, relu=False)
        return v, activated_norm(v, norm)
    tail = ChannelTail(as_data(norm, branch), gates.channels, None, True)
    u, r = (v.contiguous(memory_format=layout(branch)) for v in (branch, shortcut))
    v, a, mean, var = run(Form.of(tail), u, r, *tensors_of(tail).row())
    update_running(norm, mean, var)
    return v, a


def _fused(branch: Tensor, shortcut: Tensor | None, modules: TailModules) -> Tensor | None:
    """Return the tail by the fused operator; None where the definition is to be taken."""
    kind = "none" if shortcut is None else "identity" if modules.shortcut_norm is None else "projected"
    gates = takes(branch, shortcut, modules) if is_worthwhile(branch, modules, kind) else None
    if gates is not None and gates.positions is not None and not is_worthwhile(branch, modules, "positions"):
        return None
    run = None if gates is None else implementation(branch, modules)
    if gates is None or run is None:
        return None
    norms = modules.norm, modules.shortcut_norm
    tail = tail_of(as_data(norms[0], branch), gates, as_data(norms[1], branch), modules.relu)
    memory_format = layout(branch)
    x = branch.contiguous(memory_format=memory_format)
    r = None if shortcut is None else shortcut.to(x.dtype).contiguous(memory_format=memory_format)
    y, mean, var, shortcut_mean, shortcut_var = run(Form.of(tail), x, r, *tensors_of(tail).row())
    update_running(norms[0], mean, var)
    update_running(norms[1], shortcut_mean, shortcut_var)
    return y


def _pair_gates(branch: Tensor, shortcut: Tensor, modules: TailModules) -> Gates | None:
    """Return the gates, of channels or none, with which the operator over pairs computes just what the parts would, else None."""
    if not is_worthwhile(branch, modules, "pair") or shortcut.dtype != branch.dtype:
        return None
    gates = takes(branch, shortcut, modules)
    return None if gates is None or gates.positions is not None else gates
