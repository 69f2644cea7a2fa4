import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from senet.data.image_file import ImageReading, read_image
from senet.data.source import UnreadableImageError
from senet.data.transforms import eval_transform
from senet.spec import InputSpec

SIGNED = {258: 16, 339: 2}
TWELVE_BITS = ImageReading((0, 4095))


def written(path, values, **options):
    image = values if isinstance(values, Image.Image) else Image.fromarray(np.asarray(values))
    image.save(path, **options)
    return path


def grey(path, reading=ImageReading()):  # noqa: B008 - frozen
    return np.asarray(read_image(path, reading))[0, :, 0].tolist()


def u16(*values):
    return np.array([values], np.uint16)


def tiff(tmp_path, values, **tags):
    return written(tmp_path / "x.tif", values, tiffinfo={int(tag[1:]): value for tag, value in tags.items()})


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm", "jp2"])
def test_unsigned_16_bits_fill_their_range_unless_another_is_stated(tmp_path, suffix):
    path = written(tmp_path / f"x.{suffix}", u16(0, 4095, 25600, 65535))
    assert grey(path) == [0, 15, 100, 255]
    assert grey(path, TWELVE_BITS) == [0, 255, 255, 255]


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_a_stated_range_gives_the_same_grey_whatever_the_values_are_stored_in(tmp_path, dtype):
    path = written(tmp_path / "x.tif", np.array([[-5, 0, 1024, 2048, 4095, 9000]]).clip(0 if dtype is np.uint16 else -5).astype(dtype))
    assert grey(path, TWELVE_BITS) == [0, 0, 64, 128, 255, 255]


def test_stated_ranges_may_be_negative(tmp_path):
    signed = np.array([[-1000, 0, 999]], np.int32)
    assert grey(written(tmp_path / "a.tif", signed), ImageReading((-1000, 1000))) == [0, 127, 255]
    assert grey(tiff(tmp_path, signed, t258=16, t339=2), ImageReading((-1000, 1000))) == [0, 127, 255]


@pytest.mark.parametrize(
    ("values", "tags", "message"),
    [
        (np.array([[0, 4095]], np.int32), {}, "from 0 to 4095 .signed, 32 bits, mode I."),
        (np.array([[-7, 4095]], np.int32), {"t258": 16, "t339": 2}, "from -7 to 4095 .* mode I."),
        (np.array([[0.0, 1.5]], np.float32), {}, "from 0 to 1.5 .floats, 32 bits, mode F."),
        (np.array([[-0.5, 1.0]], np.float32), {}, "from -0.5 to 1 .floats"),
        (np.array([[1, 255]], np.uint8), {"t339": 2}, "from -1 to 1 .signed, 8 bits, mode L."),
    ],
)
def test_values_without_a_meaning_are_unreadable_and_the_mode_is_named(tmp_path, values, tags, message):
    with pytest.raises(UnreadableImageError, match=f"x.tif: has values {message}, .*give --data.range LOW,HIGH"):
        read_image(tiff(tmp_path, values, **tags))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_floats_that_are_no_numbers_are_unreadable_whatever_is_stated(tmp_path, bad):
    path = written(tmp_path / "x.tif", np.array([[0, bad, 1]], np.float32))
    for reading in (ImageReading(), ImageReading((0, 1))):
        with pytest.raises(UnreadableImageError, match="not finite"):
            read_image(path, reading)


@pytest.mark.parametrize("suffix", ["tif", "pfm"])
def test_floats_in_0_to_1_are_black_to_white(tmp_path, suffix):
    assert grey(written(tmp_path / f"x.{suffix}", np.array([[0, 0.25, 0.5, 1]], np.float32))) == [0, 64, 128, 255]


def test_a_tiff_says_its_range(tmp_path):
    limits = {"t340": 0, "t341": 4095}
    assert grey(tiff(tmp_path, u16(0, 2048, 4095), **limits)) == [0, 128, 255]
    assert grey(tiff(tmp_path, np.array([[0, 2048, 4095]], np.int32), **limits)) == [0, 128, 255]
    assert grey(tiff(tmp_path, u16(0, 2048, 4095), **limits), ImageReading((0, 65535))) == [0, 8, 15]
    assert grey(tiff(tmp_path, u16(0, 2048, 4095), t281=4095)) == [0, 8, 15]  # a statistic of this image, says TIFF 6.0


def test_unsigned_32_bits_do_not_wrap(tmp_path):
    path = written(tmp_path / "x.tif", np.array([[0, 2**31, 2**32 - 1]], np.uint32).view(np.int32))
    entry = struct.pack("<HHI", 339, 3, 1)  # SampleFormat, one short: Pillow itself writes signed values only
    data = path.read_bytes()
    assert data.count(entry + b"\2") == 1
    path.write_bytes(data.replace(entry + b"\2", entry + b"\1"))
    assert grey(path, ImageReading((0, 2**32 - 1))) == [0, 128, 255]


def test_white_is_zero_is_inverted_at_any_depth(tmp_path):
    assert grey(tiff(tmp_path, u16(0, 65535), t262=0)) == [255, 0]
    assert grey(tiff(tmp_path, np.array([[0, 1]], np.float32), t262=0)) == [255, 0]
    assert grey(tiff(tmp_path, Image.fromarray(np.array([[255, 0]], np.uint8)), t262=0)) == grey(
        written(tmp_path / "y.png", np.array([[255, 0]], np.uint8))
    )


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "1", "CMYK", "LA", "RGBA"])
def test_a_stated_range_leaves_images_of_8_bits_alone(tmp_path, mode):
    image = (
        Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).convert("L" if mode in ("L", "1", "LA") else "RGB").convert(mode)
    )
    path = written(tmp_path / "x.tif", image)
    assert np.array_equal(read_image(path), read_image(path, TWELVE_BITS))


def test_colours_of_16_bits_cannot_take_a_range(tmp_path):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixels = b"\0" + struct.pack(">3H", 65535, 4095, 25600)
    header = struct.pack(">2I5B", 1, 1, 16, 2, 0, 0, 0)
    path = tmp_path / "x.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b""))
    assert np.asarray(read_image(path)).tolist() == [[[255, 15, 100]]] == np.asarray(read_image(path, ImageReading((0, 65535)))).tolist()
    with pytest.raises(UnreadableImageError, match=r"colours of 16 bits \(RGB\).*data.range cannot be applied"):
        read_image(path, TWELVE_BITS)


def test_images_of_a_users_source_follow_the_same_rule():
    spec = InputSpec(size=2, resize=2, channels=1, mean=(0.0,), std=(1.0,))
    deep = Image.fromarray(np.full((2, 2), 4095, np.uint16))
    assert torch.allclose(eval_transform(spec)(deep), torch.tensor(15 / 255))
    stated = InputSpec(size=2, resize=2, channels=1, mean=(0.0,), std=(1.0,), range=(0, 4095))
    assert torch.allclose(eval_transform(stated)(deep), torch.tensor(1.0))
    with pytest.raises(UnreadableImageError, match="mode I"):
        eval_transform(spec)(Image.fromarray(np.full((2, 2), 4095, np.int32)))


def planes(path, values, compression):
    """Write (3, width) uint16 colours as a TIFF of one row, plane by plane."""
    strips = [zlib.compress(plane.tobytes()) if compression == 8 else plane.tobytes() for plane in values.astype("<u2")]
    starts = [8 + sum(map(len, strips[:index])) for index in range(3)]
    listed = 8 + sum(map(len, strips))
    lists = struct.pack("<3H3I3I", 16, 16, 16, *starts, *map(len, strips))
    entries = [(256, 4, 1, values.shape[1]), (257, 4, 1, 1), (258, 3, 3, listed), (259, 3, 1, compression), (262, 3, 1, 2)]
    entries += [(273, 4, 3, listed + 6), (277, 3, 1, 3), (278, 4, 1, 1), (279, 4, 3, listed + 18), (284, 3, 1, 2)]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    path.write_bytes(b"II*\0" + struct.pack("<I", listed + len(lists)) + b"".join(strips) + lists + directory)
    return path


def test_colours_of_16_bits_plane_by_plane_are_read_right_or_refused(tmp_path):
    values = np.array([[0, 65535], [25700, 51400], [257, 514]], np.uint16)
    assert np.asarray(read_image(planes(tmp_path / "z.tif", values, 8)))[0].tolist() == [[0, 100, 1], [255, 200, 2]]
    with pytest.raises(UnreadableImageError, match=r"16 bits \(RGB\) plane by plane, which Pillow misreads"):
        read_image(planes(tmp_path / "raw.tif", values, 1))
