"""NIfTI files: a header that is checked before anything is unpacked, and the voxels behind it."""

import gzip
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from senet.data.image_file import open_regular
from senet.errors import Needing, reason_of

SUFFIXES_OF_VOLUMES = (".nii.gz", ".nii")

LARGEST_OFFSET = 2**24
"""Bytes that header and extensions may take; those of scanners take some thousand."""

LARGEST_DEFLATION = 1032
"""Bytes that one byte of a deflated stream can become (zlib's own figure); a file that promises more is damaged."""

VOXEL_KINDS = "iuf"
"""NumPy's kinds of voxels that are read: whole numbers and floats, neither colours nor complex numbers."""

DAMAGE = (OSError, EOFError, zlib.error, ValueError)
"""What reading a damaged file raises: of gzip, of zlib, of what is checked here."""


@dataclass(frozen=True)
class VolumeHeader:
    """Facts of a NIfTI file that are known before its voxels are read.

    Args:
        path: the file.
        shape: voxels along its three axes, as they are stored.
        affine: (4, 4) float64, from voxel indices to millimetres towards right, anterior and superior.
        dtype: of the stored voxels.
        offset: bytes before the first voxel.
        scale: slope and intercept that make stored voxels values; None where they are the values.
        header: nibabel's header, which a file written in its image takes over.
    """

    path: Path
    shape: tuple[int, int, int]
    affine: np.ndarray
    dtype: np.dtype
    offset: int
    scale: tuple[float, float] | None
    header: Any

    @property
    def voxels(self) -> int:
        """Number of voxels."""
        return math.prod(self.shape)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VolumeHeader) and self.path == other.path

    def __hash__(self) -> int:
        return hash(self.path)


def is_volume(path: str | Path) -> bool:
    """Return whether a file's name is that of a NIfTI volume."""
    return str(path).lower().endswith(SUFFIXES_OF_VOLUMES)


def stem_of(path: str | Path) -> str:
    """Return the name of a volume without its suffix: "brain" for brain.nii.gz."""
    name = Path(path).name
    return next((name[: -len(suffix)] for suffix in SUFFIXES_OF_VOLUMES if name.lower().endswith(suffix)), name)


def read_header(path: str | Path, max_voxels: int) -> VolumeHeader:
    """Read and check the header of a NIfTI file of one volume; of a compressed file little more than its header is unpacked.

    Raises:
        UsageError: if nibabel is not installed.
        ValueError: if it is no such file, has more voxels or other axes than are read, promises more than it can hold, or says nothing
            that can be believed of where its voxels lie; the message does not name the file.
    """
    path = Path(path)
    with _stream(path) as (stream, compressed):
        start = stream.read(540)
    header = _parsed(start)
    shape = _shape(header, max_voxels)
    try:
        dtype = np.dtype(header.get_data_dtype())
    except KeyError:
        raise ValueError(f"holds voxels of a type that NIfTI does not have, data code {int(header['datatype'])}") from None
    if dtype.kind not in VOXEL_KINDS or dtype.itemsize > 8:
        raise ValueError(f"holds voxels of type {dtype}, and whole numbers and floats of at most 64 bits are read")
    offset = _offset(header)
    held, needed = path.stat().st_size, offset + math.prod(shape) * dtype.itemsize
    if held * (LARGEST_DEFLATION if compressed else 1) < needed:
        raise ValueError(f"is truncated: its header promises {needed} bytes, and its {held} cannot hold them")
    return VolumeHeader(path, shape, _affine(header), dtype, offset, _scale(header), header)


def read_voxels(header: VolumeHeader) -> np.ndarray:
    """Read the stored voxels of a file, unscaled, with the axes as they are stored.

    Raises:
        ValueError: if it ends early or is damaged.
    """
    with _stream(header.path) as (stream, _):
        if len(stream.read(header.offset)) < header.offset:
            raise ValueError("is truncated")
        count = header.voxels * header.dtype.itemsize
        data = stream.read(count)
    if len(data) < count:
        raise ValueError(f"is truncated: {len(data)} bytes of voxels are there, and {count} were promised")
    return np.frombuffer(data, header.dtype).reshape(header.shape, order="F")


def read_values(header: VolumeHeader) -> np.ndarray:
    """Read the values of an image: float32, slope and intercept applied.

    Raises:
        ValueError: if the file is damaged, or some values are not finite.
    """
    stored = read_voxels(header)
    values = np.empty(stored.shape, np.float32, order="F")
    slope, intercept = header.scale or (1.0, 0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        for index in range(stored.shape[2]):  # slab by slab: as float64 the whole would take twice the memory
            slab = stored[:, :, index]
            values[:, :, index] = slab if header.scale is None else slab.astype(np.float64) * slope + intercept
    if wrong := int(values.size - np.count_nonzero(np.isfinite(values))):
        raise ValueError(f"has {wrong} of {values.size} values that are not finite")
    return values


def read_labels(header: VolumeHeader) -> np.ndarray:
    """Read the values of a label volume as whole numbers, those of floats and wide ones as int64.

    Raises:
        ValueError: if the file is damaged, or some values are not whole numbers.
    """
    stored = read_voxels(header)
    if stored.dtype.kind in "iu" and header.scale is None and stored.dtype.itemsize < 8:
        return stored.astype(stored.dtype.newbyteorder("="), copy=False)
    slope, intercept = header.scale or (1.0, 0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        values = stored.astype(np.float64) * slope + intercept
    whole = np.isfinite(values) & (values == np.rint(values)) & (np.abs(values) < 2**53)
    if wrong := int(whole.size - np.count_nonzero(whole)):
        raise ValueError(f"has {wrong} of {whole.size} values that are not whole numbers, and labels are")
    return values.astype(np.int64)


def import_nibabel() -> Any:
    """Return nibabel.

    Raises:
        UsageError: if it is not installed.
    """
    with Needing("NIfTI volumes need nibabel", "medical"):
        import nibabel
    return nibabel


@contextmanager
def _stream(path: Path) -> Iterator[tuple[BinaryIO | gzip.GzipFile, bool]]:
    """Open a file, unpacked if its content is compressed, whatever its name says; what damage raises becomes ValueError."""
    try:
        with open_regular(path) as file:
            compressed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if compressed:
                with gzip.GzipFile(fileobj=file) as unpacked:
                    yield unpacked, True
            else:
                yield file, False
    except DAMAGE as error:
        raise ValueError(getattr(error, "strerror", None) or reason_of(error)) from error


def _parsed(start: bytes) -> Any:
    """Return nibabel's header of the first bytes of a file."""
    nibabel = import_nibabel()
    for kind, size, magic in ((nibabel.Nifti1Header, 348, b"n+1"), (nibabel.Nifti2Header, 540, b"n+2")):
        if len(start) < size or size not in (int.from_bytes(start[:4], "little"), int.from_bytes(start[:4], "big")):
            continue
        header = kind(start[:size], check=False)
        if header["magic"].item()[:3] == magic:
            return header
        if header["magic"].item()[:2] == b"ni":
            raise ValueError("is the header of a pair of files (.hdr and .img), of which one is read: convert it to .nii.gz")
    raise ValueError("is no NIfTI file")


def _shape(header: Any, max_voxels: int) -> tuple[int, int, int]:
    axes, *lengths = (int(number) for number in header["dim"])
    if not 1 <= axes <= 7 or min(lengths[:axes]) < 1:
        raise ValueError(f"has a header without a shape that can be: dim = {[axes, *lengths]}")
    shape = lengths[:axes]
    if axes < 3 or any(length != 1 for length in shape[3:]):
        raise ValueError(f"has {axes} axes ({' x '.join(map(str, shape))}), and volumes have three; split it into one file a volume")
    if math.prod(shape) > max_voxels:
        raise ValueError(f"has {' x '.join(map(str, shape[:3]))} voxels, more than data.volumes.max_voxels {max_voxels}")
    return shape[0], shape[1], shape[2]


def _offset(header: Any) -> int:
    offset = float(header["vox_offset"])
    size = int(header["sizeof_hdr"])
    if not size <= offset <= LARGEST_OFFSET:  # false for nan, too
        raise ValueError(f"has its voxels at byte {offset:g}, which is no place behind a header")
    return int(offset)


def _affine(header: Any) -> np.ndarray:
    try:
        affine = np.asarray(header.get_best_affine(), np.float64)
    except Exception as error:  # nibabel's own kinds, of a quaternion that is none
        raise ValueError(f"has an affine that cannot be read: {reason_of(error)}") from error
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or np.isclose(np.linalg.det(affine[:3, :3]), 0, atol=1e-12):
        raise ValueError("has an affine that maps voxels to no volume: numbers that are not finite, or an axis without length")
    return affine


def _scale(header: Any) -> tuple[float, float] | None:
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or math.isnan(slope):  # both mean that nothing is scaled
        return None
    if not math.isfinite(slope) or not math.isfinite(intercept):
        raise ValueError(f"has a slope and an intercept that are no numbers: {slope:g}, {intercept:g}")
    return None if (slope, intercept) == (1, 0) else (slope, intercept)
