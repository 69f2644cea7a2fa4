"""Files of every format are read."""

from pathlib import Path

from data.made_images import image_files
from senet.data.image_file import FORMATS, read_image


def test_files_of_all_formats_are_read(tmp_path: Path) -> None:
    for name, content in image_files().items():
        (tmp_path / name).write_bytes(content)
        assert read_image(tmp_path / name).size in ((24, 18), (18, 24))
    assert len(image_files()) > len(FORMATS)
