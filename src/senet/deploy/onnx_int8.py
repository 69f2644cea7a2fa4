"""An ONNX file in 8 bits: ONNX Runtime finds the ranges and quantises; what a gate is made of is left out, or keeps float inputs."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from copy import deepcopy
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from senet.deploy.onnx_gates import WEIGHTED, OnnxGate, find_gates
from senet.deploy.quantization_report import QuantizedNode
from senet.errors import UsageError

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

ENGINE = "ONNX Runtime has no 8-bit form of it here"
"""Why an operation is not int8 that no gate keeps."""


def quantize_file(source: Path, target: Path, batches: Sequence[np.ndarray], *, gates: str, calibration: str) -> tuple[QuantizedNode, ...]:
    """Write an ONNX file's 8-bit form: weights by output channel, symmetric; maps in 8 bits without a sign.

    Args:
        source: a file in float32 with one input.
        target: the file to write.
        batches: what its input sees, each (N, C, ...).
        gates: one of `GATES`.
        calibration: one of `CALIBRATIONS`.

    Returns:
        What became of each operation that has weights or scales a map by a gate.

    Raises:
        UsageError: if a library is missing.
    """
    try:
        import onnx
        from onnxruntime import quantization
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        raise UsageError("int8 files need the extra `export`: pip install 'senet[export]'") from error
    method, options = CALIBRATIONS[calibration]
    with TemporaryDirectory() as folder, _quiet():
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        graph = onnx.load(prepared).graph
        found = find_gates(graph)
        quantization.quantize_static(
            prepared,
            target,
            _reader(quantization.CalibrationDataReader, graph.input[0].name, batches),
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_exclude=[] if gates == "int8" else [name for gate in found for name in gate.nodes],
            calibrate_method=getattr(quantization.CalibrationMethod, method),
            extra_options={"CalibStridedMinMax": 1, **options},  # one batch after another: all at once would hold all maps of all images
        )
    model = onnx.load(target)
    if gates == "weights":
        _quantize_weights(model.graph, {name for gate in found for name in gate.layers})
        onnx.save(model, target)
    return tuple(_rows(model.graph, found, GATES[gates]))


def _reader(kind: Any, name: str, batches: Sequence[np.ndarray]) -> Any:
    """Return what ONNX Runtime reads batches from."""

    class Reader(kind):
        def __init__(self) -> None:
            self.waiting = iter(batches)

        def __len__(self) -> int:
            return len(batches)

        def set_range(self, start_index: int, end_index: int) -> None:
            self.waiting = iter(batches[start_index:end_index])

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self.waiting, None)
            return None if batch is None else {name: batch}

    return Reader()


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


def _rows(graph: "GraphProto", gates: Sequence[OnnxGate], reason: str) -> Iterator[QuantizedNode]:
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
        yield QuantizedNode(name, node.op_type, part, precision, "" if precision == "int8" else reason if part == "gate" else ENGINE)
