"""An ONNX file in 8 bits: ONNX Runtime finds the ranges and quantises; what a gate is made of is left out, or keeps float inputs."""

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from copy import deepcopy
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from senet.deploy.onnx_gates import WEIGHTED, OnnxGate, find_gates
from senet.deploy.quantization_report import QuantizedNode
from senet.errors import Needing

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

CALIBRATIONS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "minmax": ("MinMax", {}),
    "percentile": ("Percentile", {"CalibPercentile": 99.99}),
    "entropy": ("Entropy", {}),
}
"""How the range of a map is found -> ONNX Runtime's name for it, and its options."""

GATES: Mapping[str, str] = {
    "float": "gates stay float",
    "weights": "gates have int8 weights only",
    "int8": "",
}
"""What is done with gates -> why their layers are then not int8."""

FLOAT_ONLY = frozenset(("BatchNormalization", "InstanceNormalization", "LayerNormalization"))
"""Operations that ONNX Runtime would surround with roundings, and compute in float between them."""

SENSITIVE = "8 bits harm them most"
ENGINE = "ONNX Runtime has no 8-bit form of it here"
"""Why an operation that no gate keeps is not int8."""


class Int8Writer:
    """File in float32 whose maps have been seen: it can be written in 8 bits again and again, with other operations left out.

    Weights are quantised by output channel, symmetric; maps to 8 bits without a sign.

    Args:
        source: the file, with one input.
        batches: what its input sees, each (N, C, ...).
        calibration: one of `CALIBRATIONS`.

    Attributes:
        gates: the gates in its graph.
        layers: names of the operations with weights that belong to no gate, in order.

    Raises:
        UsageError: if a library is missing.
    """

    def __init__(self, source: Path, batches: Iterable[np.ndarray], calibration: str) -> None:
        with Needing("int8 files need the extra `export`", "export"):
            import onnx
            from onnxruntime import quantization
            from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry
            from onnxruntime.quantization.shape_inference import quant_pre_process
        method, options = CALIBRATIONS[calibration]
        self._library = quantization
        self._types = sorted({*QLinearOpsRegistry, *QDQRegistry} - FLOAT_ONLY)
        with TemporaryDirectory() as folder, _quiet():
            prepared = Path(folder) / "prepared.onnx"
            # Its optimisation takes functions such as HardSwish apart into nodes without names, which could not be left out.
            quant_pre_process(source, prepared, skip_symbolic_shape=True, skip_optimization=True)
            self._model = onnx.load(prepared)
            for node in self._model.graph.node:
                del node.metadata_props[:]  # where the code lies from which each was exported: other in each process, and nobody's business
            calibrator = quantization.create_calibrator(
                prepared,
                self._types,
                augmented_model_path=str(Path(folder) / "augmented.onnx"),
                calibrate_method=getattr(quantization.CalibrationMethod, method),
                extra_options=dict(options),
            )
            for batch in batches:  # one after another: all at once would hold all maps of all images
                calibrator.collect_data(_once({self._model.graph.input[0].name: batch}))
            self._ranges = calibrator.compute_data()
        self.gates = find_gates(self._model.graph)
        inside = {name for gate in self.gates for name in gate.layers}
        self.layers = tuple(node.name for node in self._model.graph.node if node.op_type in WEIGHTED and node.name not in inside)

    def write(self, target: Path, *, gates: str, floats: Collection[str] = ()) -> tuple[QuantizedNode, ...]:
        """Write the file in 8 bits.

        Args:
            target: the file to write.
            gates: one of `GATES`.
            floats: names of the layers that stay float.

        Returns:
            What became of each operation that has weights or scales a map by a gate.
        """
        import onnx

        kept = [] if gates == "int8" else [name for gate in self.gates for name in gate.nodes]
        self._quantize(target, [*kept, *floats])
        model = onnx.load(target)
        if gates == "weights":
            _quantize_weights(model.graph, {name for gate in self.gates for name in gate.layers})
            onnx.save(model, target)
        return tuple(_rows(model.graph, self.gates, GATES[gates], floats))

    def write_alone(self, target: Path, layer: str) -> None:
        """Write the file with one layer in 8 bits, and all else in float32."""
        self._quantize(target, [node.name for node in self._model.graph.node if node.name != layer])

    def _quantize(self, target: Path, excluded: Sequence[str]) -> None:
        with _quiet():
            quantizer = self._library.QDQQuantizer(
                deepcopy(self._model),
                per_channel=True,
                reduce_range=False,
                weight_qType=self._library.QuantType.QInt8,
                activation_qType=self._library.QuantType.QUInt8,
                tensors_range=self._ranges,
                nodes_to_quantize=[],
                nodes_to_exclude=list(excluded),
                op_types_to_quantize=self._types,
                extra_options={},
            )
            quantizer.quantize_model()
            quantizer.model.save_model_to_file(target, False)


def _once(batch: Mapping[str, np.ndarray]) -> Any:
    """Return a reader of one batch, as ONNX Runtime asks for it."""
    waiting = [batch]
    return SimpleNamespace(get_next=lambda: waiting.pop() if waiting else None)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what ONNX Runtime prints and logs to itself: one line a batch, and one a tensor without a range."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(StringIO()):
            yield
    finally:
        logging.disable(before)


def _quantize_weights(graph: "GraphProto", names: set[str]) -> None:
    """Store the float weights of layers in 8 bits, symmetric, by output channel; they are widened where they are used."""
    from onnx import helper, numpy_helper

    stored = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[NodeProto] = []
    widened: dict[str, str] = {}
    for node in graph.node:
        name = node.input[1] if node.name in names else ""
        if name in stored and name not in widened:
            weight, axis = numpy_helper.to_array(stored[name]), _output_axis(node)
            others = tuple(index for index in range(weight.ndim) if index != axis)
            scale = (np.abs(weight).max(axis=others) / 127).astype(np.float32)
            scale[scale == 0] = 1
            steps = np.rint(weight / np.expand_dims(scale, others)).astype(np.int8)
            parts = {"quantized": steps, "scale": scale, "zero_point": np.zeros(len(scale), np.int8)}
            graph.initializer.extend(numpy_helper.from_array(value, f"{name}_{part}") for part, value in parts.items())
            widened[name] = f"{name}_widened"
            inputs = [f"{name}_{part}" for part in parts]
            nodes.append(helper.make_node("DequantizeLinear", inputs, [widened[name]], f"{name}_DequantizeLinear", axis=axis))
        if name in widened:
            node.input[1] = widened[name]
        nodes.append(node)
    used = {name for node in nodes for name in node.input}
    kept = [deepcopy(tensor) for tensor in graph.initializer if tensor.name in used]
    nodes = [deepcopy(node) for node in nodes]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)


def _output_axis(node: "NodeProto") -> int:
    """Return the axis of a layer's weight that counts its outputs."""
    if node.op_type == "Conv":
        return 0
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return 0 if transposed else 1


def _rows(graph: "GraphProto", gates: Sequence[OnnxGate], reason: str, floats: Collection[str]) -> Iterator[QuantizedNode]:
    """Say of each operation what its inputs are made of in the file: that is how it is computed."""
    widened = {name: node for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    layers, scales = {name for gate in gates for name in gate.layers}, {gate.scale for gate in gates}
    for node in graph.node:
        if node.op_type not in WEIGHTED and node.name not in scales:
            continue
        part = "scaling" if node.name in scales else "gate" if node.name in layers else "network"
        narrow = [name in widened for name in node.input[:2]]
        precision = "int8" if all(narrow) else "int8 weights" if narrow[1] and part != "scaling" else "float"
        weight = widened[node.input[1]].input[0] if narrow[1] else node.input[1]
        name = node.name if part == "scaling" else weight.removesuffix("_quantized")
        why = reason if part == "gate" else SENSITIVE if node.name in floats else ENGINE
        yield QuantizedNode(name, node.op_type, part, precision, "" if precision == "int8" else why)
