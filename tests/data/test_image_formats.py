"""Files of every format are read."""

from io import BufferedReader
from pathlib import Path

import pytest

from data.made_images import image_files
from senet.data.image_file import FORMATS, open_regular, read_image


def test_files_of_all_formats_are_read(tmp_path: Path) -> None:
    for name, content in image_files().items():
        (tmp_path / name).write_bytes(content)
        assert read_image(tmp_path / name).size in ((24, 18), (18, 24))
    assert len(image_files()) > len(FORMATS)


def test_no_room_is_made_for_what_a_file_promises(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(10))
    with open_regular(tmp_path / "a") as file, pytest.raises(OverflowError):
        BufferedReader.read(file, 2**63)  # pyright: ignore[reportArgumentType] - what Python's own does
    with open_regular(tmp_path / "a") as file:
        assert (file.read(3), file.read(2**63), file.read(2**63)) == (bytes(3), bytes(7), b"")
