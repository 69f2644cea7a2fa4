"""Which layers of a network suffer most in 8 bits: each is tried alone."""

from pathlib import Path
from tempfile import TemporaryDirectory

from torch import Tensor

from senet.deploy.agreement import in_one_line
from senet.deploy.formats import output_tensors
from senet.deploy.onnx_int8 import Int8Writer
from senet.deploy.onnx_network import OnnxNetwork


def most_sensitive(writer: Int8Writer, source: Path, images: Tensor, count: int) -> tuple[str, ...]:
    """Return the layers that change the outputs most when they alone are in 8 bits, the worst first.

    Args:
        writer: of the network.
        source: its file in float32.
        images: (N, C, ...), what the outputs are compared on.
        count: how many layers.
    """
    want = output_tensors(OnnxNetwork(source)(images))
    errors: dict[str, float] = {}
    with TemporaryDirectory() as folder:
        alone = Path(folder) / "alone.onnx"
        for layer in writer.layers:
            in_one_line("ONNX Runtime cannot quantise this network", lambda layer=layer: writer.write_alone(alone, layer))
            errors[layer] = squared_difference(output_tensors(OnnxNetwork(alone)(images)), want)
    return tuple(sorted(errors, key=lambda layer: (-errors[layer], writer.layers.index(layer)))[:count])


def squared_difference(got: list[Tensor], want: list[Tensor]) -> float:
    """Return the sum of the squares of what tensors differ by, in float64."""
    return sum(float((one.double() - other.double()).square().sum()) for one, other in zip(got, want, strict=True))
