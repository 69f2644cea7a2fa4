"""NIfTI files written for tests."""

from pathlib import Path

import nibabel
import numpy as np

SHAPE = (12, 16, 14)
"""Of the volumes of `write_case`, as they are stored."""


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


def write_case(root: Path, number: int, images: str = "images", labels: str = "labels", channels: int = 1, name: str | None = None) -> None:
    """Write a volume with a ball of label 1 and a small one of label 2, brighter than the noise around them."""
    numbers = np.random.default_rng(number)
    truth = ball(SHAPE, (5, 8, 7), 4).astype(np.uint8)
    truth[ball(SHAPE, (6, 8 + number % 2, 7), 1.5)] = 2
    name = name or f"case{number}"
    write_volume(root / labels / f"{name}.nii.gz", truth, turned_affine())
    for channel in range(channels):
        values = (1000.0 * truth + numbers.normal(0, 100, SHAPE) + 500 * channel).astype(np.int16)
        ending = f"_{channel:04}" if images == "imagesTr" else ""
        write_volume(root / images / f"{name}{ending}.nii.gz", values, turned_affine())
