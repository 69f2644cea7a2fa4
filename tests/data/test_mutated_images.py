"""A damaged image file, of any format, is read or counted as unreadable: no other error, no crash, no flood, no wait."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import mutated_images
from mutated_images import read_all, samples
from senet.data.image_file import FORMATS, read_image


def test_the_files_are_sound_before_they_are_damaged(tmp_path: Path) -> None:
    for name, data in samples().items():
        (tmp_path / name).write_bytes(data)
        assert read_image(tmp_path / name).size in ((24, 18), (18, 24))
    assert len(samples()) > len(FORMATS)


@pytest.mark.parametrize("seed", range(3))
def test_damaged_files_are_read_or_unreadable(tmp_path: Path, seed: int) -> None:
    found, slowest = read_all(400, seed, tmp_path)
    assert set(found) == {"read", "unreadable"}
    assert min(found.values()) > 40
    assert slowest < 5


@pytest.mark.slow
def test_ten_thousand_damaged_files_within_a_gigabyte() -> None:
    command = [sys.executable, mutated_images.__file__, "10000", "17"]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    read, unreadable, slowest = done.stdout.split()
    assert int(read) + int(unreadable) == 10_000
    assert float(slowest) < 10
