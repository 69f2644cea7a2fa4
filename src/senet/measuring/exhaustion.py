"""Whether an error means that there was no memory left, on a device or on the host."""

import torch

EXHAUSTED_WORDS = ("DefaultCPUAllocator: ", "CUDA out of memory", "CUDA error: out of memory", "_STATUS_ALLOC_FAILED")
"""What torch's errors of other kinds say then: of the host's memory, of graphs and streams, of cuBLAS and cuDNN."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error of torch, NumPy or Python means that memory ran out."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in EXHAUSTED_WORDS)
