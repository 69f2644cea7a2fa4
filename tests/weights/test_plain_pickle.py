"""Tests of pickles that are read without running anything: stand-ins read what the originals would."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from senet.weights.plain_pickle import read_pickle


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "i8", "u1", "b1"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_numpy_are_read_as_numpy_reads_them(dtype: str, order: Any, tmp_path: Path) -> None:
    array = np.asarray(np.arange(6).reshape(2, 3) % 2, dtype=dtype, order=order)
    torch.save({"array": array, "scalar": array[1, 1], "objects": np.array([{}]), "swapped": array.astype(">i4")}, tmp_path / "a.pth")
    found = read_pickle(tmp_path / "a.pth")
    assert torch.equal(found["array"].tensor, torch.from_numpy(np.ascontiguousarray(array)))
    assert found["scalar"] == array[1, 1]
    assert found["objects"].tensor is None
    assert found["swapped"].tensor is None
