"""Files of weights that would hang or flood whoever reads them are refused before they do."""

import io
import json
import pickle
import struct
import subprocess
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch._utils import _rebuild_tensor_v2

from senet.errors import UsageError
from senet.weights import archive, header
from senet.weights.store import read_file, read_metadata, read_weights
from within import within

STATE = {"conv.weight": torch.arange(12.0).reshape(4, 3), "conv.bias": torch.zeros(4)}
TWICE = b"q\x01h\x01\x86"
"""Makes a pair of what is on top of a pickle's stack: after n times it has 2^n values."""


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.save(STATE, tmp_path / "saved.pth")
    return tmp_path / "saved.pth"


def packed_anew(
    source: Path,
    *,
    data: Callable[[bytes], bytes] = lambda data: data,
    compression: int = zipfile.ZIP_STORED,
    more: bytes = b"",
    comment: bytes = b"",
) -> Path:
    """Return a copy of an archive with another pickle, a further record or a comment."""
    path = source.with_name("anew.pth")
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w", compression) as new:
        for record in old.infolist():
            content = old.read(record)
            new.writestr(record.filename, data(content) if record.filename.endswith("data.pkl") else content)
        if more:
            new.writestr("saved/data/99", more)
        new.comment = comment
    return path


def tensor_of(size: tuple[int, ...], stride: tuple[int, ...], numbers: int) -> Callable[[bytes], bytes]:
    """Return a pickle of a state dict whose tensor says this of a storage that says it has so many numbers."""

    class Said:
        def __reduce__(self) -> tuple[Any, ...]:
            return _rebuild_tensor_v2, ("the storage", 0, size, stride, False, OrderedDict())

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: Any) -> Any:
            return ("storage", torch.FloatStorage, "0", "cpu", numbers) if obj == "the storage" else None

    buffer = io.BytesIO()
    Pickler(buffer, 2).dump({"conv.weight": Said()})
    return lambda data: buffer.getvalue()


TOO_MANY = "a pickle of more than 10,000,000 values"


def pickled(body: bytes) -> Callable[[bytes], bytes]:
    return lambda data: b"\x80\x02" + body + b"."


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_archive_that_was_packed_anew_is_read(saved: Path, compression: int) -> None:
    assert torch.equal(read_weights(packed_anew(saved, compression=compression))["conv.weight"], STATE["conv.weight"])


def test_a_training_file_of_many_tensors_is_read(tmp_path: Path) -> None:
    model = nn.Sequential(*(nn.Linear(2, 2) for _ in range(300)))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    for zipped in (True, False):
        file = {"state_dict": model.state_dict(), "optimizer": optimizer.state_dict()}
        torch.save(file, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
        assert len(read_weights(tmp_path / "w.pth")) == 600


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"compression": zipfile.ZIP_DEFLATED, "more": bytes(2**28 + 2**20)}, "unpacks to 2[0-9,]+ bytes"),
        ({"compression": zipfile.ZIP_DEFLATED, "data": pickled(b"Nq\x01" * 550_000)}, "a pickle of more than 1,000,000 operations"),
        ({"data": pickled(b"}N" + TWICE * 60 + b"Ns")}, TOO_MANY),
        ({"data": pickled(b"cbuiltins\nset\n]N" + TWICE * 60 + b"a\x85R")}, TOO_MANY),
        (
            {"data": pickled(b"}(" + b"".join(b"N" + TWICE * 20 + b"N" for _ in range(20)) + b"u")},
            TOO_MANY,
        ),
        ({"data": pickled(b"}X\x01\x00\x00\x00actorch\nFloatTensor\nJ\x00\xca\x9a\x3b\x85Rs")}, "a is larger than the file"),
        ({"data": tensor_of((10**10,), (0,), 12)}, r"conv\.weight is larger than the file"),
        ({"data": tensor_of((10**10,), (1,), 12)}, "cut short or damaged"),
        ({"data": tensor_of((4, 3), (3, 1), 10**12)}, "cut short or damaged"),
        ({"data": pickled(b"cbuiltins\nbytearray\n\x8a\x05\x00\xe8\x76\x48\x17\x85R")}, "damaged|no state dict|not a state dict"),
        ({"data": pickled(b"J\x00")}, "cut short or damaged"),
        ({"data": pickled(b"h\x07")}, "cut short or damaged"),
        ({"data": pickled(b"s")}, "cut short or damaged"),
        ({"comment": b"PK\x05\x06" + bytes(30)}, "without weights"),
        ({"comment": b"a comment"}, "cut short or damaged"),
    ],
)
def test_an_archive_that_would_flood_or_hang_is_refused(saved: Path, change: dict[str, Any], message: str) -> None:
    path = packed_anew(saved, **change)
    with within(10), pytest.raises(UsageError, match=message) as raised:
        read_file(path)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("body", [b"}N" + TWICE * 60 + b"Ns.", b"Nq\x01" * 550_000 + b"."])
def test_the_older_format_is_walked_too(tmp_path: Path, body: bytes) -> None:
    torch.save(STATE, tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    first = (tmp_path / "w.pth").read_bytes()
    third = first.index(b".\x80\x02", first.index(b".\x80\x02") + 1) + 1  # behind the magic number and the protocol
    (tmp_path / "w.pth").write_bytes(first[:third] + b"\x80\x02" + body)
    with pytest.raises(UsageError, match="holds a pickle of more than"):
        read_file(tmp_path / "w.pth")


def test_readers_that_find_other_directories_are_not_led_apart(saved: Path) -> None:
    content = saved.read_bytes()
    for other in (content + content[-22:], content[:-22] + b"x" + content[-22:], b"PK\x03\x04" + bytes(60) + content):
        saved.write_bytes(other)
        with pytest.raises(UsageError, match="cut short or damaged"):
            read_file(saved)


def test_a_long_directory_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    entry = struct.pack("<4s6H3I5H2I", b"PK\x01\x02", *[0] * 6, *[0] * 3, 1, *[0] * 4, 0, 0) + b"a"
    entries = entry * (archive.LONGEST_DIRECTORY // len(entry) + 1)
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0, 0, len(entries), 30, 0)
    path.write_bytes(b"PK\x03\x04" + bytes(26) + entries + end)
    with within(2), pytest.raises(UsageError, match="a directory of more than 16,777,216 bytes"):
        read_file(path)


@pytest.mark.parametrize("content", [b"\x80", b"\x80\x02", b"PK\x03\x04"])
def test_files_of_a_few_bytes(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(UsageError, match=r"cut short|not a"):
        read_file(tmp_path / "w.pth")


def with_header(path: Path, text: bytes) -> Path:
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    return path


ENTRY = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}


@pytest.mark.parametrize("key", ["data_offsets", "data\\u005foffsets"])
def test_too_many_tensors_are_refused_before_they_are_read(tmp_path: Path, key: str) -> None:
    text = json.dumps({f"{number:x}": ENTRY for number in range(header.MOST_TENSORS + 1)}).replace("data_offsets", key)
    for read in (read_metadata, read_weights):
        with within(5), pytest.raises(UsageError, match="it has 50,001 tensors, and at most 50,000 are read"):
            read(with_header(tmp_path / "w.safetensors", text.encode()))


def test_a_long_header_is_refused_before_it_is_read(tmp_path: Path) -> None:
    text = json.dumps({"__metadata__": {"extra": " " * header.LONGEST_HEADER}}).encode()
    with pytest.raises(UsageError, match=r"its header has 16,777,\d+ bytes"):
        read_metadata(with_header(tmp_path / "w.safetensors", text))


@pytest.mark.parametrize(
    ("entry", "size"),
    [
        ({"dtype": "F4", "shape": [1], "data_offsets": [0, 1]}, 1),
        ({"dtype": "F6_E2M3", "shape": [4], "data_offsets": [0, 3]}, 3),
        ({"dtype": "XX", "shape": [1], "data_offsets": [0, 1]}, 1),
        ({"dtype": "F32", "shape": [10**12, 10**12, 0], "data_offsets": [0, 0]}, 0),
        ({"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}, 4),
        ({"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}, 4),
        ({"dtype": "F32", "shape": [1], "data_offsets": [0, 8]}, 4),
    ],
)
def test_headers_that_contradict_the_file(tmp_path: Path, entry: dict[str, Any], size: int) -> None:
    path = with_header(tmp_path / "w.safetensors", json.dumps({"a": entry}).encode())
    path.write_bytes(path.read_bytes() + bytes(size))
    with pytest.raises(UsageError, match="not a safetensors file, or cut short") as raised:
        read_weights(path)
    assert str(raised.value).isprintable()


ODD = {
    "meta": lambda: torch.empty(10**12, device="meta"),
    "larger than the file": lambda: torch.zeros(1).expand(10**9),
}


@pytest.mark.parametrize("what", ODD)
def test_tensors_without_plain_numbers_are_refused(tmp_path: Path, what: str) -> None:
    torch.save({"a": ODD[what]()}, tmp_path / "w.pth")
    with pytest.raises(UsageError, match=f"is not read: a is .*{what}"):
        read_weights(tmp_path / "w.pth")


LIMITED = """
import resource, sys
import torch
from senet.errors import UsageError
from senet.weights.store import read_file
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_file(sys.argv[1])
except UsageError as error:
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    sys.exit(0 if grown < 2**20 else f"{grown} KiB")
sys.exit("it was read")
"""


@pytest.mark.slow
def test_a_bomb_of_gigabytes_takes_no_memory(saved: Path) -> None:
    path = packed_anew(saved, compression=zipfile.ZIP_DEFLATED, more=bytes(2**31))
    assert path.stat().st_size < 2**23
    result = subprocess.run([sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
