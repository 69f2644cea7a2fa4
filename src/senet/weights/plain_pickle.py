"""Files of `torch.save` read without running anything that they say: tensors, and the plain data that training programs save beside them.

torch's own reader takes tensors, numbers, text and the usual containers. Whatever else the tools of the field are known to write (arguments
of the command line, times, paths, NumPy's scalars, configurations) is put in its place here by a stand-in, none of which calls anything:
a name that is not listed is refused, and the error names it.
"""

import pickle
import re
from collections import OrderedDict
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from senet.errors import UsageError
from senet.text import printable
from senet.weights.archive import check_archive, damage_error


class Inert:
    """Stand-in for a value that is of no use here: it takes what it is made of, and forgets it."""

    def __new__(cls, *args: Any, **options: Any) -> "Inert":
        """Make one, of anything."""
        return super().__new__(cls)

    def __init__(self, *args: Any, **options: Any) -> None:
        """Take anything."""

    def __setstate__(self, state: Any) -> None:
        """Forget the state."""


class NumpyType:
    """Stand-in for `numpy.dtype`: the code of a number's type, such as "f8", and the order of its bytes."""

    def __init__(self, code: Any = "", *flags: Any) -> None:
        self.code, self.order = code, "="

    def __setstate__(self, state: Any) -> None:
        """Take the order of the bytes, which is the second entry."""
        self.order = state[1]

    def read(self, data: Any, shape: tuple[int, ...]) -> Tensor | None:
        """Return the numbers as a tensor; None for types that are none of NumPy's plain numbers, or bytes of another length."""
        dtype = NUMPY_TYPES.get(self.code)
        if isinstance(data, str):  # Python 2 wrote bytes so
            data = data.encode("latin-1")
        if dtype is None or self.order == ">" or not isinstance(data, bytes) or len(data) != prod(shape) * dtype.itemsize or not data:
            return None
        return torch.frombuffer(bytearray(data), dtype=dtype).reshape(shape)


class NumpyArray:
    """Stand-in for `numpy.ndarray`: its numbers as a tensor, if they are plain numbers."""

    tensor: Tensor | None = None

    def __init__(self, *args: Any) -> None:
        """Take anything: shape and numbers come as the state."""

    def __setstate__(self, state: Any) -> None:
        """Take (version, shape, type, whether Fortran's order, bytes)."""
        _, shape, dtype, is_fortran, data = state
        tensor = dtype.read(data, tuple(reversed(shape)) if is_fortran else shape) if isinstance(dtype, NumpyType) else None
        self.tensor = tensor if tensor is None or not is_fortran else tensor.permute(tuple(reversed(range(tensor.ndim)))).contiguous()


def numpy_scalar(dtype: Any, data: Any = None) -> Any:
    """Stand in for NumPy's maker of scalars: return a Python number, or something inert."""
    tensor = dtype.read(data, ()) if isinstance(dtype, NumpyType) else None
    return Inert() if tensor is None else tensor.item()


def new_mapping(*args: Any) -> "OrderedDict[Any, Any]":
    """Stand in for `defaultdict`, whose factory is forgotten."""
    return OrderedDict()


def new_list(*args: Any) -> list[Any]:
    """Stand in for containers that are filled one by one, or made of one list."""
    return list(args[0]) if args and isinstance(args[0], list | tuple) else []


NUMPY_TYPES = {
    **{f"f{size}": dtype for size, dtype in ((2, torch.float16), (4, torch.float32), (8, torch.float64))},
    **{f"i{size}": dtype for size, dtype in ((1, torch.int8), (2, torch.int16), (4, torch.int32), (8, torch.int64))},
    **{f"u{size}": dtype for size, dtype in ((1, torch.uint8), (2, torch.uint16), (4, torch.uint32), (8, torch.uint64))},
    "b1": torch.bool,
}
"""NumPy's code of a type -> the type."""

VALUES = (
    *("argparse.Namespace", "types.SimpleNamespace", "decimal.Decimal", "fractions.Fraction", "uuid.UUID"),
    *(f"datetime.{name}" for name in ("datetime", "date", "time", "timedelta", "timezone")),
    *(
        f"{module}.{flavour}Path"
        for module in ("pathlib", "pathlib._local")
        for flavour in ("", "Posix", "Windows", "PurePosix", "PureWindows")
    ),
    *(f"builtins.{name}" for name in ("int", "float", "bool", "str", "bytes", "list", "dict", "tuple", "object", "range", "slice")),
    *(f"__builtin__.{name}" for name in ("object", "long", "unicode")),
    *(f"numpy.{name}" for name in ("float16", "float32", "float64", "int32", "int64", "uint8", "bool_", "bool")),
    *("torch.torch_version.TorchVersion", "torch._C.Generator", "typing.Any", "copyreg._reconstructor", "copy_reg._reconstructor"),
)
"""Classes of values that training programs save beside the tensors."""

MAPPINGS = (
    *(f"{module}.AttributeDict" for module in ("lightning_fabric.utilities.data", "lightning.fabric.utilities.data")),
    *(f"{module}.utilities.parsing.AttributeDict" for module in ("pytorch_lightning", "lightning.pytorch")),
    *("addict.addict.Dict", "yacs.config.CfgNode", "mmengine.config.config.ConfigDict", "mmcv.utils.config.ConfigDict"),
    *("ml_collections.config_dict.config_dict.ConfigDict", "easydict.EasyDict", "fvcore.common.config.CfgNode"),
)
"""Classes that are dictionaries with another way to get at the values."""

CONFIGURATIONS = ("omegaconf.", "mmengine.", "mmcv.", "lightning.", "pytorch_lightning.", "lightning_fabric.")
"""How the names of all that the field's configuration and training libraries save begin."""

STAND_INS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(VALUES, Inert),
    **dict.fromkeys(MAPPINGS, OrderedDict),
    "collections.defaultdict": new_mapping,
    "collections.deque": new_list,
    "builtins.frozenset": new_list,
    "numpy.dtype": NumpyType,
    "numpy.ndarray": NumpyArray,
    **{f"numpy.{core}.multiarray.scalar": numpy_scalar for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray._reconstruct": NumpyArray for core in ("core", "_core")},
}
"""Name in a pickle -> what is called in its stead."""


def read_pickle(path: Path) -> Any:
    """Return what a file of `torch.save` holds: tensors, plain data, and stand-ins for what is listed here.

    Raises:
        UsageError: if the file is cut short or damaged, or holds anything that is not listed.
    """
    check_archive(path)
    stand_ins = STAND_INS | {name: Inert for name in _unknown(path) if name.startswith(CONFIGURATIONS) and name not in STAND_INS}
    try:
        with torch.serialization.safe_globals([(stand_in, name) for name, stand_in in stand_ins.items()]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refusal(path, str(error)) from error
    except Exception as error:  # whatever bytes that are not what they should be lead to
        raise damage_error(path) from error


def _unknown(path: Path) -> list[str]:
    """Return the names in a file that torch does not read by itself; none if they cannot be listed."""
    try:
        return torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
    except Exception:  # as it does when the file is read, which says so
        return []


def _refusal(path: Path, reason: str) -> UsageError:
    found = re.search(r"GLOBAL (\S+)", reason)
    named = f" ({printable(found[1], 80)})" if found else ""
    return UsageError(
        f"{str(path)!r} holds Python objects beside tensors and is not read{named}: such a file can run any program; if you trust it, take "
        "the tensors out: torch.save(torch.load(FILE, weights_only=False)[ENTRY], 'tensors.pth'), with .state_dict() after a whole network"
    )
