"""The blocks from their papers' equations, slowly and in NumPy. Nothing here is shared with the package.

Every form takes complex input and treats it analytically, so that a step along the imaginary axis gives derivatives to rounding:
Im f(a + ih e_j) / h, without differences (Squire and Trapp, SIAM Review 40, 1998). Comparisons look at the real part.

Sources: Hu et al., 1709.01507v4 (equations 2-4, Tables 11, 12, 16); Roy et al., 1803.02579 and 1808.08127; Y. Hu et al., 1807.08920.
"""

from collections.abc import Callable, Mapping

import numpy as np

Array = np.ndarray
Parameters = Mapping[str, Array]
STEP = 1e-30


def rectify(z: Array) -> Array:
    return np.where(z.real > 0, z, 0)


def sigmoid(z: Array) -> Array:
    return 1 / (1 + np.exp(-z))


def hard_sigmoid(z: Array) -> Array:
    """MobileNetV3's relu6(z + 3) / 6."""
    return np.where(z.real <= -3, 0, np.where(z.real >= 3, 1, (z + 3) / 6))


GATES = {"sigmoid": sigmoid, "tanh": np.tanh, "relu": rectify, "hard_sigmoid": hard_sigmoid}


def dense(z: Array, p: Parameters, name: str) -> Array:
    """W z + b for every row of z: (N, in) -> (N, out)."""
    weight = p[f"{name}.weight"].reshape(len(p[f"{name}.weight"]), -1)
    out = np.stack([sum(weight[:, i] * row[i] for i in range(weight.shape[1])) for row in z]) if len(z) else np.zeros((0, len(weight)))
    return out + p[f"{name}.bias"] if f"{name}.bias" in p else out


def mean(x: Array) -> Array:
    """Equation 2: z_c = 1 / (HW) sum of u_c(i, j)."""
    return x.reshape(*x.shape[:2], -1).sum(2) / np.prod(x.shape[2:])


def maximum(x: Array) -> Array:
    flat = x.reshape(*x.shape[:2], -1)
    return np.take_along_axis(flat, flat.real.argmax(2)[:, :, None], 2)[:, :, 0]


def by_position(x: Array, layer: Callable[[Array], Array]) -> Array:
    """Apply a layer on (N, C) at every position of (N, C, *S)."""
    flat = x.reshape(*x.shape[:2], -1)
    columns = [layer(flat[:, :, k]) for k in range(flat.shape[2])]
    return np.stack(columns, 2).reshape(len(x), -1, *x.shape[2:])


def channel_gate(x: Array, p: Parameters, squeeze: str = "avg", gate: str = "sigmoid") -> Array:
    """Equation 3: s = gate(W2 relu(W1 z)); one gate a channel, or a position where nothing is squeezed. -> (N, C, *S or ones)."""

    def excite(z: Array) -> Array:
        return GATES[gate](dense(rectify(dense(z, p, "fc1")), p, "fc2"))

    if squeeze == "none":
        return by_position(x, excite)
    z = {"avg": mean, "max": maximum}[squeeze](x)
    return excite(z).reshape(*z.shape, *(1,) * (x.ndim - 2))


def channel_se(x: Array, p: Parameters, **options: str) -> Array:
    """Equation 4: every channel times its gate."""
    return x * channel_gate(x, p, **options)


def spatial_se(x: Array, p: Parameters) -> Array:
    """sSE: every position times sigmoid(w . x), w over the channels there."""
    return x * by_position(x, lambda z: sigmoid(dense(z, p, "conv")))


def channel_spatial_se(x: Array, p: Parameters, combine: str = "add") -> Array:
    """scSE: both recalibrated maps, joined; "merge" is the 1x1 convolution after the concatenation."""
    c, s = channel_se(x, part(p, "cse")), spatial_se(x, part(p, "sse"))
    if combine == "concat":
        return by_position(np.concatenate((c, s), 1), lambda z: dense(z, p, "merge"))
    return {"add": c + s, "multiply": c * s, "max": np.where(c.real >= s.real, c, s)}[combine]


def part(p: Parameters, name: str) -> dict[str, Array]:
    return {key.removeprefix(f"{name}."): value for key, value in p.items() if key.startswith(f"{name}.")}


def paired(u: Array, x: Array) -> Array:
    """Set the squeezes side by side, the branch first: (N, C) twice -> (N, C, 2)."""
    return np.stack((u, x), 2)


def folded(u: Array, x: Array, columns: int) -> Array:
    """Lay W channels to a row: even rows are the branch's, odd ones the shortcut's. -> (N, 2C/W, W)."""
    image = np.zeros((len(u), 2 * u.shape[1] // columns, columns), np.result_type(u, x))
    for channel in range(u.shape[1]):
        row, column = divmod(channel, columns)
        image[:, 2 * row, column] = u[:, channel]
        image[:, 2 * row + 1, column] = x[:, channel]
    return image


def convolved(image: Array, weight: Array) -> Array:
    """Valid cross-correlation of (N, P, Q) with m filters (m, 1, p, q) -> (N, m, P - p + 1, Q - q + 1)."""
    m, _, p, q = weight.shape
    height, width = image.shape[1] - p + 1, image.shape[2] - q + 1
    out = np.zeros((len(image), m, height, width), np.result_type(image, weight))
    for i in range(height):
        for j in range(width):
            out[:, :, i, j] = np.einsum("npq,mpq->nm", image[:, i : i + p, j : j + q], weight[:, 0])
    return out


def normalised(maps: Array, p: Parameters, statistics: Parameters | None) -> Array:
    """Batch normalisation with eps 1e-5, by the batch's own statistics unless running ones are given."""
    if statistics is None:
        centre = maps.mean((0, 2, 3))
        spread = ((maps - centre[:, None, None]) ** 2).mean((0, 2, 3))
    else:
        centre, spread = statistics["bn.running_mean"], statistics["bn.running_var"]
    shape = (-1, 1, 1)
    return (maps - centre.reshape(shape)) / np.sqrt(spread + 1e-5).reshape(shape) * p["bn.weight"].reshape(shape) + p["bn.bias"].reshape(
        shape
    )


def competitive_gate(
    u: Array, x: Array, p: Parameters, variant: str = "double_fc", columns: int | None = None, statistics: Parameters | None = None
) -> Array:
    """CMPE-SE's gate of the branch u beside the shortcut x: (N, C)."""
    u, x = mean(u), mean(x)
    if variant == "double_fc":
        both = np.concatenate((rectify(dense(u, p, "fc_residual")), rectify(dense(x, p, "fc_identity"))), 1)
        return sigmoid(dense(both, p, "fc_out"))
    image = paired(u, x) if columns is None else folded(u, x, columns)
    maps = normalised(convolved(image, p["conv.weight"]), p, statistics)
    seen = maps.sum(1) / maps.shape[1]
    return sigmoid(dense(rectify(dense(seen.reshape(len(seen), -1), p, "fc1")), p, "fc2"))


def competitive_se(u: Array, x: Array, p: Parameters, **options: object) -> Array:
    """Scale the branch's channels; the shortcut is added elsewhere."""
    return u * competitive_gate(u, x, p, **options).reshape(*u.shape[:2], *(1,) * (u.ndim - 2))


def gradients(form: Callable[..., Array], inputs: list[Array], p: Parameters, cotangent: Array) -> tuple[list[Array], dict[str, Array]]:
    """Return the derivatives of sum(cotangent * form(*inputs, p)) by every input and parameter."""

    def derivative(values: Array, run: Callable[[Array], Array]) -> Array:
        out = np.zeros(values.shape)
        for index in np.ndindex(values.shape):
            moved = values.astype(complex)
            moved[index] += 1j * STEP
            out[index] = (cotangent * run(moved).imag).sum() / STEP
        return out

    by_inputs = [derivative(x, lambda moved, k=k: form(*inputs[:k], moved, *inputs[k + 1 :], p)) for k, x in enumerate(inputs)]
    return by_inputs, {name: derivative(value, lambda moved, name=name: form(*inputs, {**p, name: moved})) for name, value in p.items()}
