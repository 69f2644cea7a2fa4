"""Label volumes that are written where the volumes lie that they are of."""

import gzip
from pathlib import Path

import numpy as np

from senet.atomic import replacing
from senet.data.volumes.nifti import VolumeHeader, import_nibabel


def write_labels(path: str | Path, labels: np.ndarray, like: VolumeHeader) -> None:
    """Write what `labels_file` returns, complete or not at all; compressed if the name ends in .gz."""
    with replacing(path) as temporary:
        temporary.write_bytes(labels_file(labels, like, compressed=str(path).lower().endswith(".gz")))


def labels_file(labels: np.ndarray, like: VolumeHeader, *, compressed: bool) -> bytes:
    """Return the NIfTI file of labels that lie where another volume does: its affine, its header's codes and units, labels unscaled.

    Its type is that of the source where this is a type of whole numbers that holds the labels, else the smallest unsigned one that does.

    Args:
        labels: whole numbers, of the shape of `like`.
        like: the volume that the labels are of.
        compressed: whether the file is compressed.
    """
    nibabel = import_nibabel()
    if labels.shape != like.shape:
        raise ValueError(f"labels of {labels.shape} do not lie on the grid of {like.path}, {like.shape}")
    header = like.header.copy()
    header.extensions.clear()
    dtype = like.dtype.newbyteorder("=") if _holds(like.dtype, labels) else np.min_scalar_type(int(labels.max(initial=0)))
    header.set_data_dtype(dtype)
    header.set_slope_inter(1, 0)
    header["cal_min"], header["cal_max"] = 0, 0  # the window in which the source's intensities are shown
    kind = nibabel.Nifti2Image if header["sizeof_hdr"] == 540 else nibabel.Nifti1Image
    data = kind(labels.astype(dtype), None, header).to_bytes()
    return gzip.compress(data, 6, mtime=0) if compressed else data


def _holds(dtype: np.dtype, labels: np.ndarray) -> bool:
    return dtype.kind in "iu" and int(labels.max(initial=0)) <= np.iinfo(dtype).max
