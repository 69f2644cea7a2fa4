"""Gates in an ONNX graph, found by how values flow: a map is multiplied by what was computed from means, or from itself, by layers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

SQUEEZES = frozenset(("GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceMax", "ReduceSum", "ReduceL2"))
"""Operations after which a value is no map: means of its positions, or of its channels."""

WEIGHTED = frozenset(("Conv", "Gemm", "MatMul"))
"""Operations with weights."""

GATE_ENDS = frozenset(("Sigmoid", "HardSigmoid", "Tanh", "Relu", "Clip", "Softmax"))
"""Operations in which a gate may end."""

SAME_VALUES = frozenset(("Reshape", "Unsqueeze", "Squeeze", "Flatten", "Transpose", "Cast", "Expand", "Identity"))
"""Operations that give the same values another shape or type."""

SHAPES = frozenset(("Shape", "Size", "Constant", "ConstantOfShape", "Range"))
"""Operations whose outputs depend on no value of a map."""


@dataclass(frozen=True)
class OnnxGate:
    """One gate: the names of its nodes.

    Args:
        scale: the multiplication of the map by the gate.
        nodes: what computes the gate, in the order of the graph.
        layers: those of them that have weights.
    """

    scale: str
    nodes: tuple[str, ...]
    layers: tuple[str, ...]


def find_gates(graph: "GraphProto") -> tuple[OnnxGate, ...]:
    """Return the gates of a graph whose nodes have names of their own and stand in the order of execution.

    A multiplication of a map scales it by a gate if the other factor is computed by layers, ends in an activation, and is made either of
    squeezed values alone (SE, CMPE-SE, and what other libraries call so) or of the map itself (sSE, blocks without a squeeze). Activations
    that multiply a map by a function of itself, as Swish does, have no layers and are none.
    """
    flow = _Flow(graph.node, {tensor.name for tensor in graph.initializer})
    found = (flow.gate(node) for node in graph.node if node.op_type == "Mul")
    return tuple(gate for gate in found if gate is not None)


class _Flow:
    """Values of a graph, and which nodes they come from."""

    def __init__(self, nodes: "Iterable[NodeProto]", constants: set[str]) -> None:
        self.nodes = tuple(nodes)
        self.maker: Mapping[str, NodeProto] = {name: node for node in self.nodes for name in node.output}
        self.constant, self.squeezed = set(constants), set[str]()
        for node in self.nodes:
            values = self.values(node)
            if not values or node.op_type in SHAPES:
                self.constant.update(node.output)
            elif node.op_type in SQUEEZES or self.squeezed.issuperset(values):
                self.squeezed.update(node.output)

    def values(self, node: "NodeProto") -> list[str]:
        """Return the inputs of a node that depend on the graph's."""
        return [name for name in node.input if name and name not in self.constant]

    def gate(self, scale: "NodeProto") -> OnnxGate | None:
        """Return the gate by which a multiplication scales a map, or None if it does not."""
        factors = self.values(scale)
        if len(factors) != 2:
            return None
        first, second = factors
        for value, other in ((second, first), (first, second)):
            if other in self.squeezed or not self._ends_in_activation(value):
                continue
            inside = self._before(value, self.squeezed) if value in self.squeezed else self._between(other, value)
            nodes = [node for node in self.nodes if inside.intersection(node.output)]
            layers = [node.name for node in nodes if node.op_type in WEIGHTED]
            if layers:
                return OnnxGate(scale.name, tuple(node.name for node in nodes), tuple(layers))
        return None

    def _ends_in_activation(self, value: str) -> bool:
        """Return whether a value is the output of an activation, reshaped and times constants or not."""
        node = self.maker.get(value)
        while node is not None and (node.op_type in SAME_VALUES or (node.op_type == "Mul" and len(self.values(node)) == 1)):
            node = self.maker.get(next(iter(self.values(node)), ""))
        return node is not None and node.op_type in GATE_ENDS

    def _before(self, value: str, among: set[str]) -> set[str]:
        """Return a value and those of some values that it is computed from."""
        found, waiting = set[str](), [value]
        while waiting:
            name = waiting.pop()
            if name in among and name not in found:
                found.add(name)
                waiting += self.values(self.maker[name]) if name in self.maker else ()
        return found

    def _between(self, start: str, end: str) -> set[str]:
        """Return the values that are computed from one and that another, itself among them, is computed from."""
        after = {start}
        for node in self.nodes:
            if after.intersection(node.input):
                after.update(node.output)
        return self._before(end, after - {start})
