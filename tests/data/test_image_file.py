import os
import socket
import struct

import numpy as np
import pytest
from PIL import Image, ImageOps

from senet.data.image_file import FORMATS, ImageReading, is_image_start, read_image
from senet.data.source import UnreadableImageError
from senet.data.transforms import eval_transform
from senet.spec import InputSpec

CORNERS = Image.fromarray(np.kron(np.array([[0, 80, 80], [160, 255, 255]], np.uint8), np.ones((16, 16), np.uint8))).convert("RGB")


def one_line(error):
    return "\n" not in str(error.value)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "avif"])
@pytest.mark.parametrize("orientation", range(10))  # 1 to 8 are orientations
def test_images_are_read_upright(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    plain, turned = tmp_path / f"plain.{suffix}", tmp_path / f"turned.{suffix}"
    CORNERS.save(plain)
    CORNERS.save(turned, exif=exif)
    expected = ImageOps.exif_transpose(Image.open(turned))
    found = read_image(turned)
    assert found.size == expected.size == ((32, 48) if orientation in (5, 6, 7, 8) else (48, 32))
    assert np.array_equal(found, expected.convert("RGB"))
    assert np.array_equal(read_image(plain), Image.open(plain).convert("RGB"))


@pytest.mark.parametrize(("kind", "count", "value"), [(2, 2, b"6\0\0\0"), (1, 3, b"\6\6\6\0"), (11, 1, bytes(4)), (99, 1, b"\6\0\0\0")])
def test_exif_data_without_sense_leave_an_image_as_it_is(tmp_path, kind, count, value):
    entry = struct.pack("<HHI", 274, kind, count) + value
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4)
    CORNERS.save(tmp_path / "x.jpg", exif=exif)
    assert read_image(tmp_path / "x.jpg").size == (48, 32)


def test_damaged_exif_data_do_not_make_an_image_unreadable(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    CORNERS.save(tmp_path / "x.jpg", exif=exif)
    data = (tmp_path / "x.jpg").read_bytes()
    start = data.index(b"Exif\0\0") + 6
    for end in (start + 4, start + 9, start + 14):
        (tmp_path / "x.jpg").write_bytes(data[:end] + bytes(255 for _ in range(8)) + data[end + 8 :])
        assert read_image(tmp_path / "x.jpg").mode == "RGB"


def written(folder, suffix):
    """Write an image with this suffix, in a format that Pillow can write."""
    path = folder / f"x.{suffix.removeprefix('.')}"
    mode = {".pbm": "1", ".pgm": "L", ".pfm": "F", ".bw": "L", ".rgba": "RGBA"}.get(suffix, "RGB")
    CORNERS.convert(mode).point(lambda v: v / 255).save(path) if mode == "F" else CORNERS.convert(mode).save(path)
    return path


@pytest.mark.parametrize("suffix", sorted(suffix for suffixes in FORMATS.values() for suffix in suffixes if suffix != ".ras"))
def test_every_listed_suffix_is_one_of_a_format_that_is_read_and_known_by_its_start(tmp_path, suffix):
    path = written(tmp_path, suffix)
    assert read_image(path).size == CORNERS.size
    assert is_image_start(path.read_bytes()[:16])
    plain = path.rename(tmp_path / "no suffix")
    assert read_image(plain).size == CORNERS.size


def test_sun_rasters_are_read(tmp_path):
    header = np.array([0x59A66A95, 3, 2, 24, 18, 1, 0, 0], ">u4").tobytes()
    (tmp_path / "x.ras").write_bytes(header + bytes(range(9)) + b"\0" + bytes(range(9, 18)) + b"\0")
    assert read_image(tmp_path / "x.ras").size == (3, 2)


@pytest.mark.parametrize("start", [b"", b"P", b"text", b"<html>", b"%PDF-1.7", b"%!PS-Adobe-3.0 EPSF", bytes(16), b"8BPS\0\1"])
def test_other_starts_are_no_images(start):
    assert not is_image_start(start)


@pytest.mark.parametrize("name", ["x.eps", "x.png", "x"])
def test_postscript_starts_no_other_program_whatever_it_is_called(tmp_path, name, monkeypatch):
    CORNERS.save(tmp_path / "x.eps")
    monkeypatch.setattr("subprocess.Popen", lambda *args, **options: pytest.fail("a program was started"))
    path = (tmp_path / "x.eps").rename(tmp_path / name)
    with pytest.raises(UnreadableImageError, match="no image in a format that is read: AVIF, ") as error:
        read_image(path)
    assert one_line(error)


@pytest.mark.parametrize("suffix", ["psd", "pdf", "ico", "icns", "tga", "fits", "wmf", "h5"])
def test_formats_that_are_not_listed_are_not_opened(tmp_path, suffix):
    starts = {"psd": b"8BPS\0\1", "pdf": b"%PDF", "ico": b"\0\0\1\0", "icns": b"icns", "fits": b"SIMPLE  =", "wmf": b"\xd7\xcd\xc6\x9a\0\0"}
    (tmp_path / f"x.{suffix}").write_bytes(starts.get(suffix, b"\x89HDF\r\n\x1a\n").ljust(200, b"\0"))
    with pytest.raises(UnreadableImageError, match="no image in a format that is read"):
        read_image(tmp_path / f"x.{suffix}")


def test_an_image_beyond_the_limit_is_named_before_it_is_decoded(tmp_path):
    path = tmp_path / "x.png"
    Image.new("1", (8000, 6501)).save(path)
    with pytest.raises(UnreadableImageError, match=r"x.png: has 8000 x 6501 pixels, more than data.max_pixels 52000000$") as error:
        read_image(path)
    assert one_line(error)
    CORNERS.save(path)
    assert read_image(path, ImageReading(max_pixels=48 * 32)).size == CORNERS.size
    with pytest.raises(UnreadableImageError, match=r"48 x 32 pixels, more than data.max_pixels 1535"):
        read_image(path, ImageReading(max_pixels=48 * 32 - 1))


def test_what_pillow_takes_for_a_bomb_is_one_line(tmp_path):
    Image.new("1", (20_000, 10_000)).save(tmp_path / "x.png")
    with pytest.raises(UnreadableImageError, match=r"x.png: has more pixels than Pillow opens, 178956970$"):
        read_image(tmp_path / "x.png", ImageReading(max_pixels=178_956_970))


def test_an_image_that_is_too_narrow_to_be_resized_is_unreadable():
    spec = InputSpec(size=224, resize=256, channels=3, mean=(0.5,) * 3, std=(0.5,) * 3)
    assert eval_transform(spec)(Image.new("RGB", (2, 500))).shape == (3, 224, 224)
    with pytest.raises(UnreadableImageError, match="1 x 60000 pixels are too narrow: it would be resized to 256 x 15360000"):
        eval_transform(spec)(Image.new("RGB", (1, 60_000)))


def bind(path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "folder", "link to a pipe", "broken link", "link to itself"])
def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path, kind):
    path, other = tmp_path / "x.jpg", tmp_path / "other"
    kinds = {
        "pipe": lambda: os.mkfifo(path),
        "socket": lambda: bind(path),
        "device": lambda: path.symlink_to("/dev/zero"),
        "folder": path.mkdir,
        "link to a pipe": lambda: (os.mkfifo(other), path.symlink_to(other)),
        "broken link": lambda: path.symlink_to(other),
        "link to itself": lambda: path.symlink_to(path),
    }
    kinds[kind]()
    with pytest.raises(UnreadableImageError, match=r"x\.jpg: ") as error:
        read_image(path)
    assert one_line(error)


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG", "AVIF"])
def test_of_several_frames_the_first_is_read(tmp_path, kind):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("white", "black", "black")]
    frames[0].save(tmp_path / "x", kind, save_all=True, append_images=frames[1:])
    assert np.asarray(read_image(tmp_path / "x")).min() > 250


def test_names_that_no_terminal_shows_are_escaped(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9\x1b[31m\n.png")
    path.write_bytes(b"")
    with pytest.raises(UnreadableImageError, match=r"caf\\udce9\\x1b\[31m\\n.png: ") as error:
        read_image(path)
    assert one_line(error)
