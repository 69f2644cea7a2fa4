"""The reader of .caffemodel files: every form of the format, and nothing but a UsageError from anything else."""

import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from oracles.caffe_schema import net_parameter
from oracles.caffe_writer import LAYERS, STYLES, CaffeLayer, Style, blob, field, floats, network, varint
from senet.errors import UsageError
from senet.weights.caffe.file import MOST, LayerBlobs, parse, read_layers

MEBIBYTE = 2**20


@contextmanager
def at_most(limit: int) -> Iterator[None]:
    """Fail if Python's allocations, of this block alone, ever add up to more bytes than `limit`."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= limit


def assert_same(found: dict[str, LayerBlobs], wanted: list[CaffeLayer], legacy_dims: bool = False) -> None:
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
    assert found["conv/bn"].type == "BatchNorm"


@pytest.mark.parametrize("packed", [True, False])
def test_what_googles_library_writes_is_read(tmp_path: Path, packed: bool) -> None:
    message = net_parameter(packed)(name="net", debug_info=True)
    for described in LAYERS:
        added = message.layer.add(name=described.name, type=described.type)
        added.bottom.append("data")
        for values in described.blobs:
            written = added.blobs.add(data=values.ravel().tolist(), diff=values.ravel().tolist())
            written.shape.dim.extend(values.shape)
    (tmp_path / "net.caffemodel").write_bytes(message.SerializeToString())
    assert_same(read_layers(tmp_path / "net.caffemodel"), LAYERS)


@pytest.mark.parametrize("style", STYLES, ids=str)
def test_googles_library_reads_what_the_tests_write(style: Style) -> None:
    message = net_parameter(style.packed).FromString(network(LAYERS, style))
    assert [layer.name for layer in message.layer] == [layer.name for layer in LAYERS]
    for found, described in zip(message.layer, LAYERS, strict=True):
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
    both = field(5, floats(1, 2, 3).tobytes()) + field(8, np.array([4, 5], np.float64).tobytes()) + field(7, field(1, varint(2)))
    assert parse(one_blob(both))["x"].blobs[0].tolist() == [4, 5]


def test_unknown_fields_of_every_kind_are_passed_over() -> None:
    unknown = field(77, 5) + field(78, b"\xff" * 9) + varint(79 << 3 | 1) + b"8 bytes!" + varint(80 << 3 | 5) + b"four"
    content = field(1, "x") + unknown + field(7, unknown + blob(floats(1, 2), Style()) + unknown) + unknown
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


BIG = [CaffeLayer("x", "Convolution", (np.zeros((8, 2**20), "<f4"),))]
PIECES = [np.zeros(50_000, "<f4").tobytes()] * 160
BIG_FILES = {
    "packed": (2.0, lambda: network(BIG)),
    "unpacked": (2.0, lambda: network(BIG, Style(packed=False))),
    "doubles": (2.5, lambda: network(BIG, Style(doubles=True))),
    "unpacked_doubles": (2.33, lambda: network(BIG, Style(doubles=True, packed=False))),
    "in_pieces": (2.0, lambda: one_blob(b"".join(field(5, piece) for piece in PIECES) + field(7, field(1, varint(8_000_000))))),
}
"""Name of a file -> how many times its size reading it takes: for its pages, for its numbers, and for floats where those are doubles."""
READERS = {
    "ours": "read_layers(path)",
    "copies the file twice": "(contents := path.read_bytes(), parse(bytearray(contents)))",
    "copies each message": "(_copying(), read_layers(path))",
}
GROWTH = """
import os, sys
from pathlib import Path
from resource import RUSAGE_SELF, getrusage

import torch
from senet.weights.caffe import file
from senet.weights.caffe.file import parse, read_layers

def _copying():
    file._blob = lambda message, read=file._blob: read(memoryview(bytes(message)))

def peak():
    return getrusage(RUSAGE_SELF).ru_maxrss

torch.set_num_threads(1)
reader = compile(sys.argv[1], "reader", "eval")
small, *paths = map(Path, sys.argv[2:])
for path in paths:
    sys.stdout.flush()
    if os.fork() == 0:  # the peak of a new process is what it has
        read_layers(small)  # the code that reads is memory too
        before = peak()
        assert eval(reader)
        print(path.name, 1024 * (peak() - before) / path.stat().st_size)
        sys.stdout.flush()
        os._exit(0)
    assert os.wait()[1] == 0
"""
"""Program that prints by how many times the size of each file resident memory grows while it is read, pages of the file included."""


@pytest.fixture(scope="module")
def big_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Write a small file, and one of more than 30 MiB in every form."""
    folder = tmp_path_factory.mktemp("big")
    small = folder / "small.caffemodel"
    small.write_bytes(network(LAYERS, Style(packed=False, doubles=True)))
    paths = [folder / name for name in BIG_FILES]
    for path, (_, make) in zip(paths, BIG_FILES.values(), strict=True):
        path.write_bytes(make())
        assert path.stat().st_size > 30 * MEBIBYTE
    return [small, *paths]


def growths(reader: str, paths: list[Path]) -> dict[str, float]:
    """Return the growth of resident memory, in sizes of the file, by file; the first is read beforehand."""
    words = [sys.executable, "-c", GROWTH, READERS[reader], *map(str, paths)]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return {name: float(ratio) for name, ratio in map(str.split, result.stdout.splitlines())}


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a new process does not begin with a peak of its own")
@pytest.mark.parametrize("reader", READERS)
def test_memory_holds_the_file_once_and_its_numbers(reader: str, big_files: list[Path]) -> None:
    found = growths(reader, big_files)
    too_much = {name for name, (times, _) in BIG_FILES.items() if found[name] > times + 0.2}
    assert too_much == (set() if reader == "ours" else BIG_FILES.keys()), found


@pytest.mark.parametrize(
    "contents",
    [
        b"".join(field(100, field(1, str(index))) for index in range(MOST)),
        b"".join(field(100, field(1, f"{index:>500}")) for index in range(MOST)),
        b"".join(field(100, field(1, str(index)) + field(7, b"\x2d1234") * 50) for index in range(MOST // 50)),
        b"".join(field(100, field(1, f"\U0001f600{index:>508}")) for index in range(MOST)),
        one_blob(b"\x2d1234\x28\x00" * 30_000),
        one_blob(field(5, b"1234") * 30_000),
        one_blob(field(7, field(1, b"")) * 30_000),
        b"\x08\x00" * 60_000,
        b"\xa2\x06\x00" * 60_000,
    ],
    ids=["layers", "names", "blobs", "wide names", "broken runs", "pieces", "shapes", "fields", "nameless"],
)
def test_many_small_things_take_little_memory(contents: bytes) -> None:
    with at_most(4 * len(contents) + 8 * MEBIBYTE):
        try:
            parse(contents)
        except UsageError as error:
            assert len(str(error)) < 300  # noqa: PT017 - either outcome is right
