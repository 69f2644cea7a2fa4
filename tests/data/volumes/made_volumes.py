"""NIfTI files written for tests."""

from pathlib import Path

import nibabel
import numpy as np


def write_volume(path: Path, values: np.ndarray, affine: np.ndarray | None = None, **fields: object) -> Path:
    """Write values with an affine; `fields` are set in the header afterwards."""
    image = nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine)
    for name, value in fields.items():
        image.header[name] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    image.to_filename(path)
    return path


def ball(shape: tuple[int, int, int], centre: tuple[float, float, float], radius: float) -> np.ndarray:
    """Return a bool volume that is true in a ball."""
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    return ((grid - centre) ** 2).sum(-1) <= radius**2


def turned_affine(zooms: tuple[float, float, float] = (1.0, 2.0, 3.0)) -> np.ndarray:
    """Return the affine of a volume whose axes run towards inferior, right and posterior, a little oblique."""
    tilt = np.deg2rad(4)
    turn = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.array([[0, 1, 0], [0, 0, -1], [-1, 0, 0]]) @ np.diag(zooms)
    affine[:3, 3] = [-10, 20, 30]
    return affine
