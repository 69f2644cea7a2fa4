"""The formats of exported networks: what writes a file, and what runs it."""

from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from senet.errors import Needing, UsageError

Writer = Callable[[torch.export.ExportedProgram, Path, Sequence[str] | None], None]
"""(program, file, names of the outputs or None)"""

Runner = Callable[[Path], Callable[[Tensor], Any]]
"""file -> images to outputs"""


def output_tensors(outputs: Any) -> list[Tensor]:
    """Return the tensors in what a network returns, in order: a tensor, or tuples, lists and mappings of them."""
    return [leaf for leaf in pytree.tree_leaves(outputs) if isinstance(leaf, Tensor)]


def output_names(outputs: Any) -> list[str] | None:
    """Return what the tensors of a mapping are called: {"out": x, "aux": (y, z)} gives out, aux_0, aux_1; None for other outputs."""
    if not isinstance(outputs, Mapping):
        return None
    paths = [path for path, leaf in pytree.tree_flatten_with_path(outputs)[0] if isinstance(leaf, Tensor)]
    return ["_".join(str(getattr(key, "key", getattr(key, "idx", key))) for key in path) for path in paths]


def _write_onnx(program: torch.export.ExportedProgram, path: Path, names: Sequence[str] | None) -> None:
    with Needing("ONNX files need the extra `export`", "export"):
        import onnxscript  # noqa: F401 - torch's exporter needs it and says so in three lines
    exported = torch.onnx.export(program, dynamo=True, verbose=False, output_names=names)
    assert exported is not None
    exported.save(path)


def _write_pt2(program: torch.export.ExportedProgram, path: Path, names: Sequence[str] | None) -> None:
    with path.open("wb") as file:
        torch.export.save(program, file)


def _onnx_runner(path: Path) -> Callable[[Tensor], Any]:
    try:
        import onnxruntime
    except ImportError as error:
        raise UsageError("verifying an ONNX file needs onnxruntime: pip install 'senet[export]', or do not verify") from error
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: [torch.from_numpy(output) for output in session.run(None, {name: images.numpy(force=True)})]


def _pt2_runner(path: Path) -> Callable[[Tensor], Any]:
    return torch.export.load(BytesIO(path.read_bytes())).module()  # by its name, torch may not take it for a package


WRITERS: Mapping[str, tuple[Writer, Runner]] = {".onnx": (_write_onnx, _onnx_runner), ".pt2": (_write_pt2, _pt2_runner)}
"""Suffix of a file, in lower case -> what writes it, and what runs it."""
