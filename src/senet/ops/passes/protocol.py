"""The passes over maps that a residual tail is made of, as every backend has them.

Maps are (N, C, H, W) of one memory format and type. Vectors over images and channels, (N, C), and over channels, (C,), are float32, for
float64 maps float64. S = H W. No pass writes to what it is given, and each is deterministic.
"""

from typing import Protocol

from torch import Tensor


class Kernels(Protocol):
    """The passes; `fused` combines them to the forward and backward of a tail."""

    def moments(self, x: Tensor, centred: bool) -> tuple[Tensor, Tensor]:
        """Read x once.

        Returns:
            The mean p of each map, (N, C), and its centred sum of squares m2 = sum (x - p)^2, (N, C); m2 is zero unless `centred`.
        """
        ...

    def apply(
        self, x: Tensor, k: Tensor, t: Tensor, r: Tensor | None, rk: Tensor | None, rt: Tensor | None, relu: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Map x to y = f(k x + t + shortcut), with k and t (N, C) and the shortcut rk r + rt, r, or nothing; rk and rt are (C,).

        Returns:
            y, and what `reduce` and `spread` are told of it: y itself or a form of its own that says where y is positive; None without
            a ReLU.
        """
        ...

    def kept_like(self, x: Tensor) -> Tensor | None:
        """Return an empty tensor such as `apply` keeps of y with a ReLU; None if that is y itself."""
        ...

    def reduce(
        self, dy: Tensor, kept: Tensor | None, x: Tensor, mu: Tensor, r: Tensor | None, r_mu: Tensor | None, keep: bool
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """Sum over positions with g = dy, zero where `kept` says that y is not positive.

        Returns:
            A = sum g, B = sum g (x - mu), for a projected shortcut sum g (r - r_mu), each (N, C), and if `keep` is set g itself, a new map;
            mu and r_mu are (C,).
        """
        ...

    def spread(self, dy: Tensor, kept: Tensor | None, x: Tensor, ka: Tensor, kb: Tensor | None, kc: Tensor) -> Tensor:
        """Return ka g + kb x + kc with g as in `reduce`; ka and kc are (N, C), kb is (C,), None = 0."""
        ...

    def apply_positions(
        self,
        x: Tensor,
        k: Tensor,
        t: Tensor,
        w: Tensor,
        b: Tensor,
        s: Tensor | None,
        r: Tensor | None,
        rk: Tensor | None,
        rt: Tensor | None,
        relu: bool,
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Gate every position, and every map if s is given.

        Returns:
            y = f(u (s + ss) + shortcut) with u = k x + t; what `apply` tells of it; and the positions' gates, ss = sigmoid(sum_c w x + b),
            (N, 1, H, W) and contiguous, of the vectors' type. k, t and w are (C,), b has one value, s is (N, C), None = 0, and the
            shortcut is as in `apply`.
        """
        ...

    def reduce_positions(
        self,
        dy: Tensor,
        kept: Tensor | None,
        x: Tensor,
        mu: Tensor,
        k: Tensor,
        t: Tensor,
        ss: Tensor,
        r: Tensor | None,
        r_mu: Tensor | None,
        keep: bool,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None, Tensor, Tensor | None]:
        """Sum over channels, then over positions, with g as in `reduce` and k, t, ss and u = k x + t as in `apply_positions`.

        Returns:
            A = sum g, B = sum g (x - mu), As = sum g ss, Bs = sum g ss (x - mu), X = sum dq (x - mu), for a projected shortcut
            sum g (r - r_mu), each (N, C); dq = ss (1 - ss) sum_c g u, shaped as ss; and if `keep` is set g itself.
        """
        ...

    def spread_positions(
        self,
        dy: Tensor,
        kept: Tensor | None,
        x: Tensor,
        ka: Tensor,
        kb: Tensor | None,
        kc: Tensor,
        ks: Tensor,
        kw: Tensor,
        ss: Tensor,
        dq: Tensor,
    ) -> Tensor:
        """Return (ka + ks ss) g + kw dq + kb x + kc with g, ka, kb and kc as in `spread`, ss and dq (N, 1, H, W); ks and kw are (C,)."""
        ...
