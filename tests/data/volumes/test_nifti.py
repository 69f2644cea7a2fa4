"""Volumes are read as nibabel reads them, and files that lie are refused before anything is unpacked."""

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest

from data.volumes.made_volumes import turned_affine, write_volume
from senet.data.volumes.nifti import is_volume, read_header, read_labels, read_values, stem_of

MOST = 10**6


def rewritten(path: Path, change) -> Path:
    """Change the bytes of an uncompressed file."""
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(bytes(content))
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", ["u1", "i2", ">i2", "u2", "i4", "f4", ">f4", "f8"])
def test_values_are_those_of_nibabel(suffix: str, dtype: str, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 200, (3, 5, 4)).astype(dtype)
    path = write_volume(tmp_path / f"a{suffix}", values, turned_affine())
    header = read_header(path, MOST)
    assert header.shape == (3, 5, 4)
    assert np.array_equal(header.affine, nibabel.load(path).affine)
    found = read_values(header)
    assert found.dtype == np.float32
    assert np.array_equal(found, nibabel.load(path).get_fdata(dtype=np.float32))
    assert np.array_equal(read_labels(header), values)


def test_slope_and_intercept_are_applied(tmp_path: Path) -> None:
    stored = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    image = nibabel.Nifti2Image(stored, np.eye(4))
    image.header.set_slope_inter(0.5, -3)
    path = tmp_path / "a.nii.gz"
    image.to_filename(path)
    assert np.array_equal(read_values(read_header(path, MOST)), nibabel.load(path).get_fdata(dtype=np.float32))
    with pytest.raises(ValueError, match="values that are not whole numbers"):
        read_labels(read_header(path, MOST))


def test_what_a_file_is_says_its_content(tmp_path: Path) -> None:
    path = write_volume(tmp_path / "a.nii", np.ones((2, 2, 2), np.uint8))
    misnamed = tmp_path / "b.nii"
    misnamed.write_bytes(gzip.compress(path.read_bytes()))
    assert read_labels(read_header(misnamed, MOST)).sum() == 8
    assert [is_volume(name) for name in ("a.nii", "A.NII.GZ", "a.gz", "a.png")] == [True, True, False, False]
    assert [stem_of(name) for name in ("x/a.b.nii", "A.NII.GZ", "c.gz")] == ["a.b", "A", "c.gz"]


@pytest.mark.parametrize(
    ("values", "fields", "message"),
    [
        (np.zeros((2, 2, 2, 3)), {}, "4 axes .2 x 2 x 2 x 3.*one file a volume"),
        (np.zeros((2, 2)), {}, "2 axes"),
        (np.zeros((101, 100, 100), np.uint8), {}, "more than data.volumes.max_voxels 1000000"),
        (np.zeros((2, 2, 2), np.complex64), {}, "type complex64"),
        (np.zeros((2, 2, 2), [("R", "u1"), ("G", "u1"), ("B", "u1")]), {}, "whole numbers and floats"),
    ],
)
def test_what_is_no_volume_of_numbers_is_refused(values: np.ndarray, fields: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        read_header(write_volume(tmp_path / "a.nii.gz", values, **fields), MOST)


def test_one_volume_of_a_series_is_read(tmp_path: Path) -> None:
    assert read_header(write_volume(tmp_path / "a.nii", np.zeros((2, 3, 4, 1, 1))), MOST).shape == (2, 3, 4)


@pytest.mark.parametrize(
    ("place", "content", "message"),
    [
        (42, (30_000).to_bytes(2, "little") * 3, "more than data.volumes.max_voxels"),
        (42, (100).to_bytes(2, "little") * 3, "promises 8000352 bytes, and its 416 cannot hold them"),
        (42, (-1).to_bytes(2, "little", signed=True), "without a shape that can be"),
        (40, (9).to_bytes(2, "little"), "without a shape that can be"),
        (108, np.float32(2**30).tobytes(), "no place behind a header"),
        (108, np.float32(np.nan).tobytes(), "no place behind a header"),
        (112, np.float32(np.inf).tobytes(), "slope"),
        (280, np.float32(np.nan).tobytes(), "affine"),
        (280, np.zeros(4, np.float32).tobytes(), "affine"),
        (70, (9999).to_bytes(2, "little"), "data code"),
        (344, b"ni1\0", "pair of files"),
        (344, b"abcd", "no NIfTI file"),
        (0, b"\0\0\0\0", "no NIfTI file"),
    ],
)
def test_a_header_that_lies_is_refused(place: int, content: bytes, message: str, tmp_path: Path) -> None:
    def change(whole: bytearray) -> None:
        whole[place : place + len(content)] = content

    path = rewritten(write_volume(tmp_path / "a.nii", np.zeros((2, 2, 2))), change)
    with pytest.raises(ValueError, match=message):
        read_header(path, MOST)


def test_a_small_file_that_promises_gigabytes_is_refused_by_its_size(tmp_path: Path) -> None:
    path = write_volume(tmp_path / "a.nii", np.zeros((2, 2, 2), np.uint8))
    path = rewritten(path, lambda content: content.__setitem__(slice(42, 48), (1000).to_bytes(2, "little") * 3))
    packed = tmp_path / "b.nii.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(ValueError, match="promises 1000000352 bytes"):
        read_header(packed, 2**40)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_damage_behind_the_header_is_named(suffix: str, tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(8, 8, 8))
    path = write_volume(tmp_path / f"a{suffix}", values)
    header = read_header(path, MOST)
    path.write_bytes(path.read_bytes()[:-900])
    with pytest.raises(ValueError, match=r"truncated|ended before"):
        read_values(header)
    values[1, 2, 3] = np.nan
    values[1, 2, 4] = np.inf
    with pytest.raises(ValueError, match="2 of 512 values that are not finite"):
        read_values(read_header(write_volume(path, values), MOST))


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b", b"\x1f\x8b\x08\0\0\0\0\0\0\0garbage", b"x" * 1000])
def test_what_is_no_nifti_is_said(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"NIfTI|Compressed|invalid|ended"):
        read_header(path, MOST)
