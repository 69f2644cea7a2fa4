"""Networks as files for other engines: ONNX, and torch.export's own format, checked against the network that they came from."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from torch import Tensor, nn

from senet.atomic import replacing
from senet.deploy.optimize import optimize as optimized
from senet.errors import UsageError, choice_error
from senet.surgery.duplicate import duplicate
from senet.surgery.wrappers import unwrap

TOLERANCE = 1e-3
"""Largest difference of the logits, relative to the largest of them, that a file may show (engines sum in other orders)."""

ODD = (17, 40)
"""Pixels by which the images of the second check are larger than the example's, in height and width."""


@dataclass(frozen=True)
class Check:
    """Comparison of a file with its network: the images' shape, and the largest difference relative to the largest output."""

    shape: tuple[int, ...]
    error: float


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
    """

    file: str
    format: str
    bytes: int
    optimized: bool
    free: tuple[str, ...]
    checks: tuple[Check, ...]

    def table(self) -> Table:
        """Return a table for the terminal."""
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_row("file", self.file)
        table.add_row("size", f"{self.bytes / 2**20:.1f} MiB")
        table.add_row("form", "optimised for inference" if self.optimized else "as trained")
        table.add_row("any", ", ".join(self.free) or "nothing: the sizes of the example are fixed")
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
) -> ExportReport:
    """Write a network to an .onnx or a .pt2 file, for images of any number and size where its layers allow that.

    Args:
        model: the network; it is left alone.
        path: the file to write or replace; its suffix says the format.
        example_input: images (N, C, H, W) with N >= 2; None = random ones of the network's own size.
        optimize: export the inference form, see `senet.optimize`.
        verify: run the file and compare its outputs with the network's, on a single image and on three larger ones if sizes are free.
        images: further batches to compare on.

    Raises:
        UsageError: for another suffix, a network that does not say its input size, or a library that is missing.
        RuntimeError: if the outputs differ; nothing is written then.
    """
    model = unwrap(model)
    path = Path(path)
    if path.suffix not in WRITERS:
        raise choice_error("format of a file", path.suffix, WRITERS)
    if example_input is None:
        size = getattr(model, "input_size", None)
        if size is None:
            raise UsageError(f"{type(model).__name__} does not say its input size: give example_input, such as torch.randn(2, 3, 224, 224)")
        example_input = torch.randn(2, *size, generator=torch.Generator().manual_seed(0))
    if len(example_input) < 2:
        raise UsageError("example_input needs two images or more: one would fix the batch size to 1")
    reference = duplicate(model).eval()
    network = optimized(reference) if optimize else reference
    auto = torch.export.Dim.AUTO
    with _quiet("torch.fx.experimental.symbolic_shapes"):
        program = torch.export.export(network, (example_input,), dynamic_shapes=({0: auto, 2: auto, 3: auto},))
    write, runner = WRITERS[path.suffix]
    free = _free_axes(program)
    with replacing(path) as temporary:
        write(program, temporary)
        checks = tuple(_checks(runner(temporary), reference, example_input, free, images)) if verify else ()
        if wrong := [check for check in checks if not check.error <= TOLERANCE]:
            shape = "x".join(map(str, wrong[0].shape))
            raise RuntimeError(
                f"the file computes something else: {wrong[0].error:.1e} of the largest output off on {shape}; nothing is written"
            )
    return ExportReport(str(path), path.suffix.removeprefix("."), path.stat().st_size, optimize, free, checks)


def export_onnx(
    model: nn.Module, path: str | Path, example_input: Tensor | None = None, *, optimize: bool = True, verify: bool = True
) -> ExportReport:
    """Write a network to an ONNX file; see `export`.

    Raises:
        UsageError: as `export` does, and unless the path ends in .onnx.
    """
    if Path(path).suffix != ".onnx":
        raise UsageError(f"the file must end in .onnx, got {str(path)!r}")
    return export(model, path, example_input, optimize=optimize, verify=verify)


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Keep a logger's warnings to itself: torch reports at length which inequalities of pooled sizes it did not simplify."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _free_axes(program: torch.export.ExportedProgram) -> tuple[str, ...]:
    """Return the axes of the images that the program leaves open."""
    images = next(node for node in program.graph.nodes if node.op == "placeholder" and node.name in program.graph_signature.user_inputs)
    lengths = images.meta["val"].shape
    return tuple(name for axis, name in ((0, "batch"), (2, "height"), (3, "width")) if isinstance(lengths[axis], torch.SymInt))


def _checks(
    run: Callable[[Tensor], Tensor], reference: nn.Module, example: Tensor, free: tuple[str, ...], images: Sequence[Tensor]
) -> list[Check]:
    _, channels, height, width = example.shape
    batches = [example]
    if "batch" in free:
        batches.append(example[:1])
    if {"batch", "height", "width"} <= set(free):
        generator = torch.Generator().manual_seed(1)
        batches.append(torch.randn(3, channels, height + ODD[0], width + ODD[1], generator=generator))
    found = []
    for batch in (*batches, *images):
        with torch.no_grad():
            want, got = reference(batch), run(batch)
        error = (got - want).abs().max() / want.abs().max()
        found.append(Check(tuple(batch.shape), float(error)))
    return found


def _write_onnx(program: torch.export.ExportedProgram, path: Path) -> None:
    try:
        import onnxscript  # noqa: F401 - torch's exporter needs it and says so in three lines
    except ImportError as error:
        raise UsageError("ONNX files need the extra `export`: pip install 'senet[export]'") from error
    exported = torch.onnx.export(program, dynamo=True, verbose=False)
    assert exported is not None
    exported.save(path)


def _write_pt2(program: torch.export.ExportedProgram, path: Path) -> None:
    with path.open("wb") as file:
        torch.export.save(program, file)


def _onnx_runner(path: Path) -> Callable[[Tensor], Tensor]:
    try:
        import onnxruntime
    except ImportError as error:
        raise UsageError("verifying an ONNX file needs onnxruntime: pip install 'senet[export]', or do not verify") from error
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: torch.from_numpy(session.run(None, {name: images.numpy()})[0])


def _pt2_runner(path: Path) -> Callable[[Tensor], Tensor]:
    return torch.export.load(BytesIO(path.read_bytes())).module()  # by its name, torch may not take it for a package


Writer = Callable[[torch.export.ExportedProgram, Path], None]
Runner = Callable[[Path], Callable[[Tensor], Tensor]]
WRITERS: Mapping[str, tuple[Writer, Runner]] = {".onnx": (_write_onnx, _onnx_runner), ".pt2": (_write_pt2, _pt2_runner)}
"""Suffix of a file -> what writes it, and what runs it."""
