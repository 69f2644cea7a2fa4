"""Gates are found in ONNX graphs by how values flow; what only looks like one is none."""

import onnx.parser
import pytest

from senet.deploy.onnx_gates import OnnxGate, find_gates


def graph(body: str) -> onnx.GraphProto:
    """Return a graph of some "value = Operation (inputs)", each node called as its output; w1, w2, k, k1 and one are constants."""
    parsed = onnx.parser.parse_graph(f"g (float[N, 4, H, W] x) => (float[N, 4, H, W] y) {{{body}}}")
    for node in parsed.node:
        node.name = node.output[0]
    for name in ("w1", "w2", "k", "k1", "one"):
        parsed.initializer.append(onnx.helper.make_tensor(name, onnx.TensorProto.FLOAT, [1], [1.0]))
    return parsed


SE = "m = ReduceMean (x) a = Gemm (m, w1) b = Relu (a) c = Gemm (b, w2) s = Sigmoid (c) u = Unsqueeze (s, one) y = Mul (x, u)"


def test_a_squeeze_and_its_layers() -> None:
    assert find_gates(graph(SE)) == (OnnxGate("y", ("m", "a", "b", "c", "s", "u"), ("a", "c")),)


@pytest.mark.parametrize(
    ("body", "nodes", "layers"),
    [
        (SE.replace("(x, u)", "(u, x)"), ("m", "a", "b", "c", "s", "u"), ("a", "c")),
        ("m = GlobalAveragePool (x) a = Conv (m, k) s = HardSigmoid (a) y = Mul (x, s)", ("m", "a", "s"), ("a",)),
        ("m = ReduceMean (x) a = Gemm (m, w1) s = Relu (a) t = Mul (s, one) y = Mul (x, t)", ("m", "a", "s", "t"), ("a",)),
        ("m = ReduceMean (x) z = Conv (x, k) a = Gemm (m, w1) s = Tanh (a) y = Mul (z, s)", ("m", "a", "s"), ("a",)),
        ("a = Conv (x, k1) s = Sigmoid (a) y = Mul (x, s)", ("a", "s"), ("a",)),
        ("a = Conv (x, k) b = Relu (a) c = Conv (b, k) s = Sigmoid (c) y = Mul (s, x)", ("a", "b", "c", "s"), ("a", "c")),
        (
            "n = Shape (x) r = Reshape (x, n) m = ReduceMean (r) q = ReduceMax (x) j = Concat (m, q) a = Gemm (j, w1) s = Sigmoid (a)"
            " z = Conv (x, k) y = Mul (z, s)",
            ("m", "q", "j", "a", "s"),
            ("a",),
        ),
    ],
    ids=["order", "hard", "gain", "before the convolution", "positions", "no squeeze", "two squeezes"],
)
def test_gates_of_every_form(body: str, nodes: tuple[str, ...], layers: tuple[str, ...]) -> None:
    assert find_gates(graph(body)) == (OnnxGate("y", nodes, layers),)


@pytest.mark.parametrize(
    "body",
    [
        "s = Sigmoid (x) y = Mul (x, s)",
        "z = Conv (x, k) s = HardSigmoid (z) y = Mul (z, s)",
        "y = Mul (x, one)",
        "m = ReduceMean (x) a = Gemm (m, w1) s = Sigmoid (a) y = Mul (a, s)",
        "m = ReduceMean (x) d = Sub (x, m) q = ReduceMean (d) r = Sqrt (q) y = Mul (d, r)",
        "a = Conv (x, k) b = Conv (x, k) s = Sigmoid (b) y = Mul (a, s)",
        "m = ReduceMean (x) s = Sigmoid (m) y = Mul (x, s)",
        "a = Conv (x, k) y = Mul (x, a)",
    ],
    ids=["swish", "hard swish", "constant", "swish of means", "normalisation", "gated unit", "no layers", "no activation"],
)
def test_what_is_no_gate(body: str) -> None:
    assert find_gates(graph(body)) == ()


def test_two_gates_of_one_map() -> None:
    """scSE: each factor is found by itself."""
    body = (
        "m = ReduceMean (x) a = Gemm (m, w1) s = Sigmoid (a) c = Mul (x, s) b = Conv (x, k1) p = Sigmoid (b) d = Mul (x, p) y = Add (c, d)"
    )
    assert [(gate.scale, gate.layers) for gate in find_gates(graph(body))] == [("c", ("a",)), ("d", ("b",))]
