"""Networks as files for other engines: ONNX, and torch.export's own format, checked against the network that they came from."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from torch import Tensor, nn

from senet.atomic import replacing
from senet.deploy.agreement import Check, compare_outputs, in_one_line, outputs_of
from senet.deploy.formats import WRITERS, output_names
from senet.deploy.lengths import AXES, Lengths, find_lengths
from senet.deploy.optimize import optimize as optimized
from senet.errors import UsageError, choice_error
from senet.models.detection.detector import Detector
from senet.surgery.duplicate import duplicate
from senet.surgery.wrappers import unwrap
from senet.weights.store import metadata_of


@dataclass(frozen=True)
class ExportReport:
    """Outcome of an export.

    Args:
        file: the file.
        format: "onnx" or "pt2".
        bytes: its size.
        optimized: whether it is the inference form.
        free: the axes of the images that may have any length.
        checks: comparisons with the network; none if it was not verified.
        fixed: the axes, but for the channels, that have the length of the example.
        reason: why, if they were not to be.
    """

    file: str
    format: str
    bytes: int
    optimized: bool
    free: tuple[str, ...]
    checks: tuple[Check, ...]
    fixed: tuple[str, ...] = ()
    reason: str = ""

    def table(self) -> Table:
        """Return a table for the terminal."""
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_row("file", self.file)
        table.add_row("size", f"{self.bytes / 2**20:.1f} MiB")
        table.add_row("form", "optimised for inference" if self.optimized else "as trained")
        table.add_row("any", ", ".join(self.free) or "nothing: the sizes of the example are fixed")
        if self.fixed:
            why = f" ({self.reason})" if self.reason else ""
            table.add_row("fixed", f"{', '.join(self.fixed)}{why}")
        for check in self.checks:
            table.add_row("checked", f"{'x'.join(map(str, check.shape))}: differs by {check.error:.1e} of the largest output")
        return table

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return asdict(self)


def export(
    model: nn.Module,
    path: str | Path,
    example_input: Tensor | None = None,
    *,
    optimize: bool = True,
    verify: bool = True,
    images: Sequence[Tensor] = (),
    fixed_size: bool = False,
) -> ExportReport:
    """Write a network to an .onnx or a .pt2 file, for images of any number and size where the network and its layers allow that.

    Args:
        model: the network; it is left alone. It returns a tensor, or tuples, lists and mappings of them; the keys of a mapping name the
            outputs of an ONNX file.
        path: the file to write or replace; its suffix says the format.
        example_input: images (N, C, H, W), signals (N, C, L), volumes (N, C, D, H, W) or vectors (N, C) with N >= 2; None = random images
            of the size that its weights say, else of the network's own.
        optimize: export the inference form, see `senet.optimize`.
        verify: run the file and compare its outputs with the network's, on a single image and on three larger ones if sizes are free.
        images: further batches to compare on.
        fixed_size: take images of the example's size only, which some engines compute faster.

    Raises:
        UsageError: for another suffix, a detector, a network that does not say its input size or refuses the example, or a library that is
            missing.
        RuntimeError: if the network cannot be exported, the file cannot be run, or the outputs differ; nothing is written then.
    """
    model, path = unwrap(model), Path(path)
    if path.suffix.lower() not in WRITERS:
        raise choice_error("format of a file", path.suffix, WRITERS)
    if isinstance(model, Detector):
        raise UsageError(
            f"{model.config.name} finds as many boxes as an image shows, which torch.export does not follow: for images of one size "
            "torch.onnx.export(..., dynamo=False) writes it, see docs/models.md"
        )
    example = _example(model, example_input)
    reference = duplicate(model).eval()
    wanted = outputs_of(reference, example)
    network = optimized(reference) if optimize else reference
    lengths = find_lengths(reference, example, fixed_size=fixed_size)
    try:
        program = _program(network, example, lengths)
    except RuntimeError as error:
        if lengths.larger is None:
            raise
        lengths = Lengths(lengths.single, None, str(error))
        program = _program(network, example, lengths)
    free = _free_axes(program, lengths)
    if not {*range(2, example.ndim)} <= set(free):
        lengths = Lengths(lengths.single, None, lengths.reason)
    write, runner = WRITERS[path.suffix.lower()]
    with replacing(path) as temporary, _quiet("torch.onnx._internal.exporter._core"):
        in_one_line("the network cannot be written as such a file", lambda: write(program, temporary, output_names(wanted)))
        checks = tuple(compare_outputs(temporary, runner, reference, [example, *_more(lengths, free), *images])) if verify else ()
    names = ("batch", "", *AXES[example.ndim])
    fixed = tuple(name for axis, name in enumerate(names) if name and axis not in free)
    free_names = tuple(names[axis] for axis in free)
    return ExportReport(
        str(path), path.suffix.lower().removeprefix("."), path.stat().st_size, optimize, free_names, checks, fixed, lengths.reason
    )


def export_onnx(
    model: nn.Module,
    path: str | Path,
    example_input: Tensor | None = None,
    *,
    optimize: bool = True,
    verify: bool = True,
    fixed_size: bool = False,
) -> ExportReport:
    """Write a network to an ONNX file; see `export`.

    Raises:
        UsageError: as `export` does, and unless the path ends in .onnx.
        RuntimeError: as `export` does.
    """
    if Path(path).suffix.lower() != ".onnx":
        raise UsageError(f"the file must end in .onnx, got {str(path)!r}")
    return export(model, path, example_input, optimize=optimize, verify=verify, fixed_size=fixed_size)


def _example(model: nn.Module, example: Tensor | None) -> Tensor:
    """Return the example on the network's device, of its type."""
    if example is None:
        spec = metadata_of(model).input  # what the weights were trained on wins over what networks of this name usually see
        size = getattr(model, "input_size", None) if spec is None else (spec.channels, spec.size, spec.size)
        if size is None:
            raise UsageError(f"{type(model).__name__} does not say its input size: give example_input, such as torch.randn(2, 3, 224, 224)")
        example = torch.randn(2, *size, generator=torch.Generator().manual_seed(0))
    if not isinstance(example, Tensor) or example.ndim not in AXES:
        got = tuple(example.shape) if isinstance(example, Tensor) else type(example).__name__
        raise UsageError(f"example_input must be one tensor (N, C), (N, C, L), (N, C, H, W) or (N, C, D, H, W), got {got}")
    if len(example) < 2:
        raise UsageError("example_input needs two images or more: one would fix the batch size to 1")
    weight = next((weight for weight in model.parameters() if weight.is_floating_point()), example)
    return example.to(weight.device, weight.dtype if example.is_floating_point() else None)


def _program(network: nn.Module, example: Tensor, lengths: Lengths) -> torch.export.ExportedProgram:
    free = dict.fromkeys(lengths.free, torch.export.Dim.AUTO)
    with _quiet("torch.fx.experimental.symbolic_shapes"):
        return in_one_line(
            "torch.export cannot follow this network", lambda: torch.export.export(network, (example,), dynamic_shapes=(free,))
        )


@contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """Keep loggers' warnings to themselves: torch reports at length which inequalities it did not simplify, and outputs that are None."""
    levels = {logger: logger.level for logger in map(logging.getLogger, names)}
    for logger in levels:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


def _free_axes(program: torch.export.ExportedProgram, lengths: Lengths) -> tuple[int, ...]:
    """Return the axes of the images that the program leaves open."""
    images = next(node for node in program.graph.nodes if node.op == "placeholder" and node.name in program.graph_signature.user_inputs)
    return tuple(axis for axis in lengths.free if isinstance(images.meta["val"].shape[axis], torch.SymInt))


def _more(lengths: Lengths, free: Sequence[int]) -> list[Tensor]:
    return [images for images in (lengths.single, lengths.larger) if images is not None and 0 in free]
