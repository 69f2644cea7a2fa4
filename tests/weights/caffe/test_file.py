"""The reader of .caffemodel files: every form of the format, and nothing but a UsageError from anything else."""

import random
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from oracles.caffe_schema import net_parameter
from oracles.caffe_writer import CaffeLayer, Style, blob, field, network, varint
from senet.errors import UsageError
from senet.weights.caffe.file import MOST, Layer, parse, read_layers
from senet.weights.caffe.release import layer_tensors

MEBIBYTE = 2**20
LAYERS = [
    CaffeLayer("data", "Input"),
    CaffeLayer("conv", "Convolution", (np.float32(np.random.default_rng(0).normal(size=(4, 3, 2, 2))), np.float32([1, 2, 3, 4]))),
    CaffeLayer("conv/bn", "BatchNorm", (np.float32([1, -2]), np.float32([3, 4]), np.float32([999.5]))),
    CaffeLayer("classifier", "InnerProduct", (np.float32([[1, 2], [3, 4], [5, 6]]), np.float32([0, 1, 2]))),
]
STYLES = [Style(True, *options) for options in product([False, True], repeat=4)]


@contextmanager
def at_most(more: int) -> Iterator[None]:
    """Let this process map `more` bytes beside what it has: beyond, allocations fail."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def assert_same(found: dict[str, Layer], wanted: list[CaffeLayer], legacy_dims: bool = False) -> None:
    assert list(found) == [layer.name for layer in wanted]
    for described in wanted:
        blobs = found[described.name].blobs
        assert len(blobs) == len(described.blobs)
        for tensor, values in zip(blobs, described.blobs, strict=True):
            shape = (1,) * (4 - values.ndim) + values.shape if legacy_dims else values.shape
            assert tensor.dtype == torch.float32
            assert torch.equal(tensor, torch.from_numpy(values.reshape(shape)))


@pytest.mark.parametrize("style", STYLES, ids=str)
def test_every_form_is_read_exactly(style: Style) -> None:
    found = parse(network(LAYERS, style))
    assert_same(found, LAYERS, style.legacy_dims)
    assert found["conv"].type == "Convolution"
    assert found["conv/bn"].type == ("V1 type 140" if style.v1 else "BatchNorm")


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("v1", [True, False])
def test_what_googles_library_writes_is_read(tmp_path: Path, v1: bool, packed: bool) -> None:
    message = net_parameter(packed)(name="net", debug_info=True)
    for described in LAYERS:
        added = (message.layers if v1 else message.layer).add(name=described.name)
        added.type = 4 if v1 else described.type
        added.bottom.append("data")
        for values in described.blobs:
            written = added.blobs.add(data=values.ravel().tolist(), diff=values.ravel().tolist())
            written.shape.dim.extend(values.shape)
    (tmp_path / "net.caffemodel").write_bytes(message.SerializeToString())
    assert_same(read_layers(tmp_path / "net.caffemodel"), LAYERS)


@pytest.mark.parametrize("style", STYLES, ids=str)
def test_googles_library_reads_what_the_tests_write(style: Style) -> None:
    message = net_parameter(style.packed).FromString(network(LAYERS, style))
    layers = message.layers if style.v1 else message.layer
    assert [layer.name for layer in layers] == [layer.name for layer in LAYERS]
    for found, described in zip(layers, LAYERS, strict=True):
        for written, values in zip(found.blobs, described.blobs, strict=True):
            assert list(written.double_data if style.doubles else written.data) == values.ravel().tolist()
            if not style.legacy_dims:
                assert tuple(written.shape.dim) == values.shape


def one_blob(content: bytes, name: str = "x") -> bytes:
    return field(100, field(1, name) + field(2, "Convolution") + field(7, content))


def test_numbers_in_pieces_come_together() -> None:
    values = np.arange(600, dtype="<f4")
    alone = b"".join(b"\x2d" + value.tobytes() for value in values[100:500])
    pieces = (
        field(5, values[:100].tobytes()) + alone + field(9, "unknown") + b"\x2d" + values[500].tobytes() + field(5, values[501:].tobytes())
    )
    found = parse(one_blob(field(7, field(1, varint(20)) + field(1, 30)) + pieces))["x"].blobs[0]
    assert torch.equal(found, torch.arange(600.0).reshape(20, 30))


def test_doubles_win_over_floats_as_in_caffe() -> None:
    both = field(5, np.float32([1, 2, 3]).tobytes()) + field(8, np.float64([4, 5]).tobytes()) + field(7, field(1, varint(2)))
    assert parse(one_blob(both))["x"].blobs[0].tolist() == [4, 5]


def test_unknown_fields_of_every_kind_are_passed_over() -> None:
    unknown = field(77, 5) + field(78, b"\xff" * 9) + varint(79 << 3 | 1) + b"8 bytes!" + varint(80 << 3 | 5) + b"four"
    content = field(1, "x") + unknown + field(7, unknown + blob(np.float32([1, 2]), Style()) + unknown) + unknown
    assert parse(unknown + field(100, content) + unknown)["x"].blobs[0].tolist() == [1, 2]


def test_old_matrices_keep_their_four_axes() -> None:
    assert parse(network(LAYERS, Style(legacy_dims=True)))["classifier"].blobs[0].shape == (1, 1, 3, 2)


FLOATS = field(5, np.zeros(6, "<f4").tobytes())
SIX = field(7, field(1, varint(6)))


@pytest.mark.parametrize(
    ("contents", "reason"),
    [
        (field(1, "a net without layers"), "no layers"),
        (one_blob(FLOATS + SIX) * 2, "two layers are called 'x'"),
        (one_blob(FLOATS + SIX)[:-3], "field 100 should have"),
        (one_blob(FLOATS + SIX) + b"\xa2\x06\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "field 100 should have 18446744073709551615 bytes"),
        (one_blob(FLOATS + SIX) + b"\x80" * 11, "an integer does not end"),
        (one_blob(FLOATS + SIX) + b"\x08", "an integer does not end"),
        (one_blob(FLOATS + SIX) + b"\x00\x01", "a field has the number 0"),
        (one_blob(FLOATS + SIX) + b"\x0b\x0c", "field 1 has the unknown wire type 3"),
        (one_blob(FLOATS), r"layer 'x', blob 0: 6 numbers for the shape \(\)"),
        (one_blob(SIX), r"0 numbers for the shape \(6\)"),
        (one_blob(FLOATS + field(7, field(1, varint(2) + varint(4)))), r"6 numbers for the shape \(2, 4\)"),
        (one_blob(FLOATS + field(7, field(1, varint(-2) + varint(-3)))), r"6 numbers for the shape \(-2, -3\)"),
        (one_blob(FLOATS + field(7, field(1, varint(2**62) + varint(2**62)))), "6 numbers for the shape"),
        (one_blob(field(7, field(1, varint(0) + varint(2**62)))), r"0 numbers for the shape \(0, "),
        (one_blob(FLOATS + field(7, field(1, varint(1) * 33))), "more than 32 axes"),
        (one_blob(FLOATS + field(1, -6) + field(2, -1) + field(3, 1) + field(4, 1)), r"6 numbers for the shape \(-6, -1, 1, 1\)"),
        (one_blob(FLOATS + field(1, 6)), r"6 numbers for the shape \(6, 0, 0, 0\)"),
        (one_blob(field(5, b"12345") + SIX), "5 bytes of numbers that have 4 each"),
        (one_blob(SIX + b"\x2d\x00"), "a number is cut short"),
        (one_blob(FLOATS + SIX, name="x" * 513), "a name of 513 bytes"),
        (one_blob(FLOATS + SIX, name="two\nlines"), r"a name with control characters, 'two\\nlines'"),
        (field(100, field(1, 7)), "a name is not text"),
        (field(100, field(1, "x") + field(7, SIX) * 65), "more than 64 blobs"),
        (b"".join(field(100, field(1, str(index))) for index in range(MOST + 1)), f"more than {MOST} layers or blobs"),
    ],
)
def test_damage_is_named_in_one_line(contents: bytes, reason: str) -> None:
    with pytest.raises(UsageError, match=reason) as raised:
        parse(contents, "net.caffemodel")
    message = str(raised.value)
    assert message.startswith("'net.caffemodel' is not a .caffemodel: it is something else, cut short or damaged (")
    assert message.endswith("; fetch it again")
    assert "\n" not in message


def write_safetensors(path: Path) -> None:
    save_file({"weight": torch.zeros(3)}, path)


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda path: path.write_text("\n<!DOCTYPE html><html>Quota exceeded</html>"), "an HTML or XML page; the download probably failed"),
        (lambda path: torch.save({"weight": torch.zeros(3)}, path), "a zip archive"),
        (write_safetensors, "looks like a safetensors file"),
        (lambda path: path.write_text('name: "SE-ResNet-50"\nlayer {\n'), r"a network's definition \(.prototxt\)"),
        (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99)), "an HDF5 file"),
        (lambda path: path.write_bytes(b"\x1f\x8b\x08" + bytes(99)), "compressed by gzip"),
        (lambda path: path.write_bytes(bytes(1000)), "something else, cut short or damaged"),
        (lambda path: path.write_bytes(b""), "is empty; fetch it again"),
        (lambda path: path.mkdir(), "is a folder; give a .caffemodel file"),
        (lambda path: None, "does not exist; give a .caffemodel file"),
    ],
)
def test_other_files_are_called_what_they_are(tmp_path: Path, write: Callable[[Path], object], reason: str) -> None:
    path = tmp_path / "net.caffemodel"
    write(path)
    with pytest.raises(UsageError, match=reason) as raised:
        read_layers(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_name_that_begins_like_html_is_no_html() -> None:
    assert list(parse(field(1, "p>" + "x" * 58) + network(LAYERS))) == [layer.name for layer in LAYERS]


BIG = np.zeros((8, 2**20), "<f4")
PIECES = [np.zeros(50_000, "<f4").tobytes()] * 160


@pytest.mark.parametrize(
    "make",
    [
        lambda: network([CaffeLayer("x", "Convolution", (BIG,))]),
        lambda: network([CaffeLayer("x", "Convolution", (BIG,))], Style(packed=False)),
        lambda: network([CaffeLayer("x", "Convolution", (BIG,))], Style(doubles=True)),
        lambda: network([CaffeLayer("x", "Convolution", (BIG,))], Style(doubles=True, packed=False)),
        lambda: one_blob(b"".join(field(5, piece) for piece in PIECES) + field(7, field(1, varint(8_000_000)))),
    ],
    ids=["packed", "unpacked", "doubles", "unpacked doubles", "in pieces"],
)
def test_memory_stays_below_four_times_the_file(tmp_path: Path, make: Callable[[], bytes]) -> None:
    path = tmp_path / "net.caffemodel"
    path.write_bytes(make())
    size = path.stat().st_size
    assert size > 30 * MEBIBYTE
    with at_most(int(2.7 * size) + 8 * MEBIBYTE):
        assert read_layers(path)["x"].blobs[0].numel() >= 8_000_000


@pytest.mark.parametrize(
    "contents",
    [
        b"".join(field(100, field(1, str(index))) for index in range(MOST)),
        b"".join(field(100, field(1, f"{index:>500}")) for index in range(MOST)),
        b"".join(field(100, field(1, str(index)) + field(7, b"\x2d1234") * 50) for index in range(MOST // 50)),
        b"".join(field(100, field(1, f"\U0001f600{index:>508}")) for index in range(MOST)),
        one_blob(b"\x2d1234\x28\x00" * 100_000),
        one_blob(field(5, b"1234") * 100_000),
        one_blob(field(7, field(1, b"")) * 100_000),
        b"\x08\x00" * 200_000,
        b"\xa2\x06\x00" * 200_000,
    ],
    ids=["layers", "names", "blobs", "wide names", "broken runs", "pieces", "shapes", "fields", "nameless"],
)
def test_many_small_things_take_little_memory(contents: bytes) -> None:
    with at_most(4 * len(contents) + 64 * MEBIBYTE):
        try:
            parse(contents)
        except UsageError as error:
            assert len(str(error)) < 300  # noqa: PT017 - either outcome is right


def mutated(contents: bytes, random_: random.Random) -> bytes:
    """Damage a file: change bytes, cut it, edit a length or a key, move or repeat a piece, or several of these."""
    data = bytearray(contents)
    for _ in range(random_.choice((1, 1, 1, 2, 4, 16))):
        place = random_.randrange(len(data) + 1)
        kind = random_.randrange(6)
        if kind == 0 and place < len(data):
            data[place] ^= 1 << random_.randrange(8)
        elif kind == 1 and place < len(data):
            data[place] = random_.choice((0, 1, 2, 127, 128, 255, 0x2D, 0x41, 0x3A, 0x2A, random_.randrange(256)))
        elif kind == 2:
            del data[place : place + random_.choice((1, 2, 5, 50, len(data)))]
        elif kind == 3:
            data[place:place] = varint(random_.choice((0, 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1, random_.getrandbits(20))))
        elif kind == 4:
            start = random_.randrange(len(data) + 1)
            data[place:place] = data[start : start + random_.randrange(64)]
        elif kind == 5:
            data[place:place] = random_.randbytes(random_.randrange(8))
    return bytes(data)


def fuzz(rounds: int, seed: int) -> tuple[int, int]:
    """Read mutated files; return how many were read as networks, and how many were refused."""
    random_ = random.Random(seed)
    seeds = [network(LAYERS, style) for style in STYLES]
    for contents in seeds:
        layer_tensors(parse(contents))
    good = bad = 0
    with at_most(64 * MEBIBYTE):
        for _ in range(rounds):
            contents = mutated(random_.choice(seeds), random_)
            try:
                layer_tensors(parse(contents))
                good += 1
            except UsageError as error:
                assert "\n" not in str(error)  # noqa: PT017 - most files are still readable or not, and both are right
                assert len(str(error)) < 2000  # noqa: PT017
                bad += 1
    return good, bad


def test_ten_thousand_damaged_files() -> None:
    good, bad = fuzz(10_000, seed=0)
    assert good > 500
    assert bad > 5000


@pytest.mark.slow
def test_a_hundred_thousand_damaged_files() -> None:
    good, bad = fuzz(100_000, seed=1)
    assert good > 5000
    assert bad > 50_000
