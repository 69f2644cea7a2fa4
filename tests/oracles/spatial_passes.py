"""The passes that gate positions as Triton kernels against their definition in float64, on the cases of `tail_passes`."""

from typing import Any

import torch
from torch import Tensor

from oracles.tail_passes import Case, errors_of, exact, kernels, lively, replays
from senet.ops.passes.torch import TorchKernels
from senet.ops.tail.gates import Projection
from senet.ops.tail.spatial import SpatialTail

SHORTCUTS = ("none", "identity", "projected")

Found = dict[str, Tensor | None]


def drawn(case: Case) -> dict[str, Tensor]:
    """Return maps and vectors for the passes, by the names of their arguments."""
    torch.manual_seed(0)
    n, c = case.shape[:2]
    wide = torch.promote_types(case.dtype, torch.float32)
    made = dict(zip(("x", "r", "dy"), case.maps(3), strict=True))
    shapes = {
        **dict.fromkeys(("k", "t", "w", "rk", "rt", "mu", "r_mu", "kb", "ks", "kw"), (c,)),
        **dict.fromkeys(("s", "ka", "kc"), (n, c)),
    }
    made |= {key: torch.randn(shape, device=case.device).to(wide) for key, shape in shapes.items()}
    return {**made, "b": torch.randn(1, device=case.device).to(wide), "w": made["w"] / c**0.5}


def results(passes: Any, v: dict[str, Tensor], case: Case, shortcut: str, gated: bool, told: Found | None = None) -> Found:
    """Return all that the three passes give; those of the backward pass are told what `told` has instead of what the first one gave."""
    r = None if shortcut == "none" else v["r"]
    rk, rt, r_mu = (v[key] if shortcut == "projected" else None for key in ("rk", "rt", "r_mu"))
    y, kept, ss = passes.apply_positions(v["x"], v["k"], v["t"], v["w"], v["b"], v["s"] if gated else None, r, rk, rt, case.relu)
    told = told or {"kept": kept, "ss": ss}
    names = ("g", "gx", "gated", "gated_x", "dq_x", "by_r", "dq", "r")
    sums = passes.reduce_positions(v["dy"], told["kept"], v["x"], v["mu"], v["k"], v["t"], told["ss"], r, r_mu, shortcut == "identity")
    found: Found = {"y": y, "kept": kept, "ss": ss, **dict(zip(names, sums, strict=True))}
    vectors = (v["ka"], v["kb"] if gated else None, v["kc"], v["ks"], v["kw"])
    found["x"] = passes.spread_positions(v["dy"], told["kept"], v["x"], *vectors, told["ss"], told.get("dq", found["dq"]))
    return found


def errors(case: Case, shortcut: str, gated: bool) -> dict[str, float]:
    """Return the largest error of each result, as a share of the largest value or of 1."""
    v = drawn(case)
    got = results(kernels(case.tiling), v, case, shortcut, gated)
    told = {"kept": got["y"] if case.relu else None, **{key: value.double() for key in ("ss", "dq") if (value := got[key]) is not None}}
    want = results(TorchKernels(), {key: value.double() for key, value in v.items()}, case, shortcut, gated, told)
    del got["kept"], want["kept"]
    assert [key for key, value in got.items() if value is None] == [key for key, value in want.items() if value is None]
    for key in ("y", "x"):
        value = got[key]
        assert value is not None
        assert value.dtype == case.dtype
        assert value.stride() == v["x"].stride()
    pairs = {key: (a, b) for key, a in got.items() if a is not None and (b := want[key]) is not None}
    assert all(a.shape == b.shape for a, b in pairs.values())
    return {key: float((a - b).abs().max()) / max(1.0, float(b.abs().max())) for key, (a, b) in pairs.items()}


def tail_errors(case: Case) -> dict[str, float]:
    """Return the errors of a whole tail, forward and backward."""
    torch.manual_seed(0)
    tail, channels = lively(case), case.shape[1]
    weight, bias = (torch.randn(n, device=case.device).to(torch.promote_types(case.dtype, torch.float32)) for n in (channels, 1))
    given, precise = (
        SpatialTail(t.norm, t.gate, Projection(w / channels**0.5, b), t.r_norm, t.relu)
        for t, w, b in ((tail, weight, bias), (exact(tail), weight.double(), bias.double()))
    )
    return errors_of(given, precise, case)


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
