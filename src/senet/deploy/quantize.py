"""Networks as ONNX files in 8 bits, their gates in the precision that they bear."""

import math
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from senet.atomic import replacing
from senet.deploy.agreement import in_one_line
from senet.deploy.export import export_onnx
from senet.deploy.formats import output_tensors
from senet.deploy.onnx_int8 import CALIBRATIONS, GATES, Int8Writer
from senet.deploy.onnx_network import OnnxNetwork
from senet.deploy.quantization_report import QuantizationReport
from senet.deploy.sensitivity import most_sensitive, squared_difference
from senet.errors import UsageError, choice_error
from senet.surgery.preserve import evaluating

SENSITIVITY_IMAGES = 32
"""On how many images it is found which layers 8 bits harm most."""


def quantize(
    model: nn.Module,
    batches: Iterable[Tensor],
    path: str | Path,
    *,
    gates: str = "float",
    calibration: str = "percentile",
    float_layers: int = 0,
    optimize: bool = True,
    fixed_size: bool = False,
) -> QuantizationReport:
    """Write a network to an ONNX file that computes in 8 bits, with ranges found on images.

    Args:
        model: the network, in float32; it is left alone.
        batches: images of the kind that it will see, each (N, C, H, W), prepared as for the network; they are all held in memory.
        path: the .onnx file to write or replace.
        gates: "float", "weights" or "int8": see `senet.deploy.onnx_int8.GATES`.
        calibration: how the range of a map is found: "minmax", "percentile" or "entropy".
        float_layers: how many layers stay float: those that alone, in 8 bits, would change the outputs most (gates' are not among them).
        optimize: quantise the inference form, see `senet.optimize`.
        fixed_size: take images of the first batch's size only.

    Raises:
        UsageError: if there are no images, a word is unknown, the network is not in float32 or cannot be exported, see `export_onnx`, or a
            library is missing.
        RuntimeError: if ONNX Runtime cannot quantise the file or run it; nothing is written then.
    """
    path = Path(path)
    if path.suffix.lower() != ".onnx":
        raise UsageError(f"a network in 8 bits is an .onnx file, got {str(path)!r}")
    for what, value, allowed in (("precision of gates", gates, GATES), ("calibration", calibration, CALIBRATIONS)):
        if value not in allowed:
            raise choice_error(what, value, allowed)
    if float_layers < 0:
        raise UsageError(f"float_layers must be a number of layers, 0 or more, got {float_layers}")
    if other := next((tensor.dtype for tensor in model.parameters() if tensor.is_floating_point() and tensor.dtype != torch.float32), None):
        raise UsageError(f"{type(model).__name__} has weights of {str(other).removeprefix('torch.')}: make it float32, then quantise")
    images = [batch.detach().float().cpu() for batch in batches if len(batch)]
    if not images:
        raise UsageError("there are no images to find ranges on: give at least one batch, better some hundred images")
    with TemporaryDirectory() as folder:
        plain = Path(folder) / "float.onnx"
        example = torch.cat([images[0], images[0]])[: max(2, len(images[0]))]
        export_onnx(model, plain, example, optimize=optimize, fixed_size=fixed_size)
        float_bytes = plain.stat().st_size
        arrays = [batch.numpy() for batch in images]
        writer = in_one_line("ONNX Runtime cannot find the ranges of this network", lambda: Int8Writer(plain, arrays, calibration))
        floats = most_sensitive(writer, plain, images[0][:SENSITIVITY_IMAGES], float_layers) if float_layers else ()
        with replacing(path) as temporary:
            rows = in_one_line("ONNX Runtime cannot quantise this network", lambda: writer.write(temporary, gates=gates, floats=floats))
            error, agreement = in_one_line("the file cannot be run", lambda: _compare(model, OnnxNetwork(temporary), images))
    count = sum(map(len, images))
    return QuantizationReport(str(path), path.stat().st_size, float_bytes, gates, calibration, count, optimize, rows, error, agreement)


def _compare(model: nn.Module, file: OnnxNetwork, batches: Iterable[Tensor]) -> tuple[float, float | None]:
    """Return the relative difference of a file's outputs to its network's, and how often the largest of the first output is the same."""
    device = next((tensor.device for tensor in model.parameters()), torch.device("cpu"))
    difference = size = 0.0
    same = seen = 0
    with evaluating(model), torch.inference_mode():
        for images in batches:
            want = [tensor.cpu() for tensor in output_tensors(model(images.to(device)))]
            got = output_tensors(file(images))
            difference += squared_difference(got, want)
            size += squared_difference(want, [torch.zeros(())] * len(want))
            if want[0].ndim > 1 and want[0].shape[1] > 1:
                equal = got[0].argmax(1) == want[0].argmax(1)
                same, seen = same + int(equal.sum()), seen + equal.numel()
    return math.sqrt(difference / size) if size else math.sqrt(difference), same / seen if seen else None
