"""Label volumes are written on the grid, with the header and in the type of their source."""

from pathlib import Path

import nibabel
import numpy as np
import pytest

from data.volumes.made_volumes import turned_affine, write_volume
from senet.data.volumes.nifti import read_header, read_labels
from senet.data.volumes.written import write_labels


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(("dtype", "largest", "becomes"), [("i2", 30, "i2"), (">i2", 30, "i2"), ("f4", 30, "u1"), ("u1", 300, "u2")])
def test_a_written_volume_lies_where_its_source_does(suffix: str, dtype: str, largest: int, becomes: str, tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros((3, 4, 5), dtype), turned_affine())
    image.set_qform(turned_affine(), 3)
    image.set_sform(turned_affine(), 4)
    image.header.set_xyzt_units("mm", "sec")
    image.header["descrip"] = b"a scan"
    image.header.set_slope_inter(2.0, 5.0)
    image.to_filename(tmp_path / "source.nii.gz")
    source = read_header(tmp_path / "source.nii.gz", 10**6)
    labels = np.random.default_rng(0).integers(0, largest + 1, (3, 4, 5))
    labels[0, 0, 0] = largest
    write_labels(tmp_path / f"out{suffix}", labels, source)
    found = nibabel.load(tmp_path / f"out{suffix}")
    assert np.array_equal(np.asanyarray(found.dataobj), labels)
    assert found.get_data_dtype() == np.dtype(becomes)
    assert np.array_equal(found.affine, nibabel.load(source.path).affine)
    assert [int(found.header[name]) for name in ("qform_code", "sform_code")] == [3, 4]
    assert found.header.get_xyzt_units() == ("mm", "sec")
    assert np.array_equal(read_labels(read_header(tmp_path / f"out{suffix}", 10**6)), labels)


def test_the_second_version_of_the_format_stays(tmp_path: Path) -> None:
    nibabel.Nifti2Image(np.zeros((2, 3, 4), np.uint8), turned_affine()).to_filename(tmp_path / "a.nii")
    write_labels(tmp_path / "b.nii", np.ones((2, 3, 4), np.uint8), read_header(tmp_path / "a.nii", 10**6))
    assert isinstance(nibabel.load(tmp_path / "b.nii"), nibabel.Nifti2Image)


def test_labels_of_another_grid_are_refused(tmp_path: Path) -> None:
    source = read_header(write_volume(tmp_path / "a.nii", np.zeros((2, 3, 4), np.uint8)), 10**6)
    with pytest.raises(ValueError, match="do not lie on the grid"):
        write_labels(tmp_path / "b.nii", np.zeros((2, 3, 5), np.uint8), source)
    assert not (tmp_path / "b.nii").exists()
