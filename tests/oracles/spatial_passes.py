"""The passes that gate positions as Triton kernels against their definition in float64, on the cases of `tail_passes`."""

from typing import Any

import torch
from torch import Tensor

from oracles.tail_passes import Case, errors_of, exact, kernels, lively, replays, rolled
from senet.ops.passes.terms import Centred, Coefficients, GateOfPositions, Normalised, OutputGradient, PositionCoefficients, Shortcut
from senet.ops.passes.torch import TorchKernels
from senet.ops.tail.gates import Projection
from senet.ops.tail.spatial import SpatialTail

SHORTCUTS = ("none", "identity", "projected")

Found = dict[str, Tensor | None]


def drawn(case: Case) -> dict[str, Tensor]:
    """Return maps and vectors for the passes, by name."""
    torch.manual_seed(0)
    n, c = case.shape[:2]
    wide = torch.promote_types(case.dtype, torch.float32)
    made = dict(zip(("x", "r", "dy"), case.maps(3), strict=True))
    of_channels = ("scale", "shift", "weight", "r_scale", "r_shift", "mean", "r_mean", "by_x", "by_gq", "by_dl")
    shapes = {**dict.fromkeys(of_channels, (c,)), **dict.fromkeys(("s", "by_g", "constant"), (n, c))}
    made |= {key: torch.randn(shape, device=case.device).to(wide) for key, shape in shapes.items()}
    return {**made, "bias": torch.randn(1, device=case.device).to(wide), "weight": made["weight"] / c**0.5}


def results(passes: Any, v: dict[str, Tensor], case: Case, shortcut: str, gated: bool, told: Found | None = None) -> Found:
    """Return all that the three passes give; those of the backward pass are told what `told` has instead of what the first one gave."""
    added = {"none": None, "identity": Shortcut(v["r"]), "projected": Shortcut(v["r"], v["r_scale"], v["r_shift"])}[shortcut]
    projected = Centred(v["r"], v["r_mean"]) if shortcut == "projected" else None
    branch = Normalised(v["x"], v["mean"], v["scale"], v["shift"])
    y, mask, q = passes.apply_positions(branch, GateOfPositions(v["weight"], v["bias"], v["s"] if gated else None), added, case.relu)
    told = told or {"mask": mask, "q": q}
    gradient = OutputGradient(v["dy"], told["mask"])
    sums = passes.reduce_positions(gradient, branch, told["q"], projected, shortcut == "identity")
    found: Found = {"y": y, "mask": mask, "q": q, **{"r" if key == "gradient" else key: value for key, value in vars(sums).items()}}
    gates, dl = told["q"], told.get("dl", found["dl"])
    assert gates is not None
    assert dl is not None
    of_positions = PositionCoefficients(gates, dl, v["by_gq"], v["by_dl"])
    of_channels = Coefficients(v["by_g"], v["by_x"] if gated else None, v["constant"])
    found["x"] = passes.spread_positions(gradient, v["x"], of_channels, of_positions)
    return found


def errors(case: Case, shortcut: str, gated: bool, passes: Any = None, order: int = 0) -> dict[str, float]:
    """Return the largest error of each result of the kernels, or of other passes, as a share of the largest value or of 1."""
    v = drawn(case)
    v |= dict(zip(("x", "r", "dy"), rolled([v["x"], v["r"], v["dy"]], order), strict=True))
    got = results(passes or kernels(case.tiling), v, case, shortcut, gated)
    told = {"mask": got["y"] if case.relu else None, **{key: value.double() for key in ("q", "dl") if (value := got[key]) is not None}}
    want = results(TorchKernels(), {key: value.double() for key, value in v.items()}, case, shortcut, gated, told)
    del got["mask"], want["mask"]
    assert [key for key, value in got.items() if value is None] == [key for key, value in want.items() if value is None]
    for key in ("y", "x"):
        value = got[key]
        assert value is not None
        assert value.dtype == case.dtype
        assert value.stride() == v["x"].stride()
    pairs = {key: (a, b) for key, a in got.items() if a is not None and (b := want[key]) is not None}
    assert all(a.shape == b.shape for a, b in pairs.values())
    return {key: float((a - b).abs().max()) / max(1.0, float(b.abs().max())) for key, (a, b) in pairs.items()}


def tail_errors(case: Case, passes: Any = None, order: int = 0) -> dict[str, float]:
    """Return the errors of a whole tail, forward and backward, by the kernels or by other passes."""
    torch.manual_seed(0)
    tail, channels = lively(case), case.shape[1]
    weight, bias = (torch.randn(n, device=case.device).to(torch.promote_types(case.dtype, torch.float32)) for n in (channels, 1))
    given, precise = (
        SpatialTail(t.norm, t.gate, Projection(w / channels**0.5, b), t.shortcut_norm, t.relu)
        for t, w, b in ((tail, weight, bias), (exact(tail), weight.double(), bias.double()))
    )
    return errors_of(given, precise, case, passes, order)


def repeats(case: Case) -> bool:
    """Return whether two runs agree bit by bit."""
    v = drawn(case)
    first, second = (results(kernels(case.tiling), v, case, "projected", True) for _ in range(2))
    return all(torch.equal(a, b) for key, a in first.items() if a is not None and (b := second[key]) is not None)


def in_a_graph(case: Case) -> bool:
    """Return whether the passes captured in a CUDA graph, replayed on other values, compute what they compute outside."""
    v = drawn(case)

    def step() -> list[Tensor]:
        return [value for value in results(kernels(case.tiling), v, case, "identity", True).values() if value is not None]

    return replays(step, [v["x"], v["r"], v["dy"]])


def launch_all(passes: Any, case: Case) -> None:
    """Launch every variant of the passes."""
    v = drawn(case)
    for shortcut in SHORTCUTS:
        for gated in (True, False):
            results(passes, v, case, shortcut, gated)
