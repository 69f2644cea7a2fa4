"""What a forward pass keeps for the backward pass, in bytes."""

from collections.abc import Iterable
from types import TracebackType

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks


class SavedBytes:
    """Counter of the distinct storages that autograd keeps inside a `with` block.

    Args:
        known: tensors that are there anyway (parameters, buffers), which do not count.

    Attributes:
        total: bytes so far.
    """

    def __init__(self, known: Iterable[Tensor]) -> None:
        self.total = 0
        self._seen = {tensor.untyped_storage()._cdata for tensor in known}
        self._alive: list[Tensor] = []  # an address may be used again once its tensor is gone
        self._hooks = saved_tensors_hooks(self._save, lambda tensor: tensor)

    def __enter__(self) -> "SavedBytes":
        self._hooks.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._hooks.__exit__(kind, error, trace)
        self._alive.clear()  # the hooks refer to this object and it to them: without this they would live until the next garbage collection

    def _save(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._seen:  # the storage itself: on the meta device all data are at 0
            self._seen.add(storage._cdata)
            self._alive.append(tensor)
            self.total += storage.nbytes()
        return tensor
