"""An ONNX file as a module, so that whatever measures networks measures files too."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from senet.deploy.formats import WRITERS
from senet.errors import UsageError, first_line_of
from senet.text import message_line


class OnnxNetwork(nn.Module):
    """Network that ONNX Runtime computes from a file, on the CPU.

    Args:
        path: the file.
        names: what the outputs are called where the network gives a mapping; None = it gives a tensor, or a tuple if there are several.

    Raises:
        UsageError: if there is no such file, onnxruntime is missing, or it cannot read the file.
    """

    def __init__(self, path: str | Path, names: Sequence[str] | None = None) -> None:
        super().__init__()
        if not Path(path).is_file():
            raise UsageError(f"{str(path)!r} is no file: name an .onnx file, such as `senet export` writes")
        _, runner = WRITERS[".onnx"]
        try:
            self._run = runner(Path(path))
        except UsageError:
            raise
        except Exception as error:  # the library's errors have no type of their own
            raise UsageError(message_line(f"ONNX Runtime cannot read {str(path)!r}: {first_line_of(error)}")) from error
        self.names = None if names is None else tuple(names)

    def forward(self, images: Tensor) -> Any:
        """Map images (N, C, H, W) to what the file says of them, on the images' device."""
        with torch.no_grad():
            outputs = [output.to(images.device) for output in self._run(images)]
        if self.names is not None:
            return dict(zip(self.names, outputs, strict=True))
        return outputs[0] if len(outputs) == 1 else tuple(outputs)
