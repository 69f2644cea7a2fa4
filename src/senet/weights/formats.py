"""What a file that is no file of weights of ours is, told by its first bytes or its members, and how to get weights out of it."""

import json
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from zipfile import ZipFile

from senet.errors import UsageError, nearest
from senet.weights.archive import ZIP, check_directory

FIRST_BYTES = 512
"""Bytes at the beginning of a file that tell what it is."""

MOST_NAMES = 1000
"""Names in a folder among which a similar one is looked for."""

PICKLE = b"\x80"
"""First byte of a pickle; the second is the protocol, which is 2 in what `torch.save` writes by itself."""

UNPACK = "unpack it, and give the file of weights that is inside"
BY_SAFETENSORS = "load it where it was made, and save its arrays with safetensors"


@dataclass(frozen=True)
class ForeignFormat:
    """Format that is not read here.

    Args:
        what: what such a file is.
        remedy: how to get a file that is.
        start: the bytes that stand at `offset`.
        offset: where they stand.
        suffix: how the file's name ends, for formats without such bytes.
    """

    what: str
    remedy: str
    start: bytes = b""
    offset: int = 0
    suffix: str = ""

    def fits(self, head: bytes, name: str) -> bool:
        """Return whether a file with these first bytes and this name is of this format."""
        return head.startswith(self.start, self.offset) and name.lower().endswith(self.suffix)


FOREIGN = (
    ForeignFormat("an HTML or XML page, not weights", "the download probably failed: fetch it again", b"<"),
    ForeignFormat(
        "a Git LFS pointer, the text that stands for a file", "run `git lfs pull`, or download the file itself", b"version https://git-lfs"
    ),
    ForeignFormat("an HDF5 file, as Keras writes them", BY_SAFETENSORS, b"\x89HDF\r\n\x1a\n"),
    ForeignFormat("an ONNX graph", "give the PyTorch weights that it was exported from", suffix=".onnx"),
    ForeignFormat("a TensorFlow checkpoint", BY_SAFETENSORS, b"model_checkpoint_path"),
    ForeignFormat("a part of a TensorFlow checkpoint", BY_SAFETENSORS, suffix=".index"),
    ForeignFormat("a part of a TensorFlow checkpoint", BY_SAFETENSORS, suffix=".data-00000-of-00001"),
    ForeignFormat("a TensorFlow graph", BY_SAFETENSORS, suffix=".pb"),
    ForeignFormat("a TensorFlow Lite graph", "give the weights that it was converted from", b"TFL3", 4),
    ForeignFormat("a GGUF file of a language model", "give a file of PyTorch or safetensors", b"GGUF"),
    ForeignFormat("a NumPy array", BY_SAFETENSORS, b"\x93NUMPY"),
    ForeignFormat("a MATLAB file", BY_SAFETENSORS, b"MATLAB 5.0"),
    ForeignFormat("a compressed file (gzip)", UNPACK, b"\x1f\x8b"),
    ForeignFormat("a compressed file (bzip2)", UNPACK, b"BZh"),
    ForeignFormat("a compressed file (xz)", UNPACK, b"\xfd7zXZ\x00"),
    ForeignFormat("a compressed file (Zstandard)", UNPACK, b"\x28\xb5\x2f\xfd"),
    ForeignFormat("a compressed archive (7z)", UNPACK, b"7z\xbc\xaf\x27\x1c"),
    ForeignFormat("a compressed archive (rar)", UNPACK, b"Rar!"),
    ForeignFormat("a tar archive", UNPACK, b"ustar", 257),
)
"""Formats by their first bytes; the first that fits is named."""

REWRITE = "if you trust it, write it anew: torch.save(torch.load(FILE, weights_only=False), 'weights.pth')"

ARCHIVES = {
    "constants.pkl": ("a TorchScript archive, a program with its weights", "torch.save(torch.jit.load(FILE).state_dict(), 'weights.pth')"),
    "model.weights.h5": ("a network of Keras", BY_SAFETENSORS),
    ".npy": ("an archive of NumPy arrays", BY_SAFETENSORS),
    "archive_format": ("a program of torch.export", "torch.save(torch.export.load(FILE).state_dict, 'weights.pth')"),
    "serialized_exported_program.json": (
        "a program of torch.export",
        "torch.save(torch.export.load(FILE).state_dict, 'weights.pth')",
    ),
    ".pth": ("a zip archive", UNPACK),
    ".pt": ("a zip archive", UNPACK),
    ".safetensors": ("a zip archive", UNPACK),
}
"""How the name of a zip archive's member ends -> what the archive is, and the remedy; the first that is there is named."""

FOREIGN_FOLDERS = {
    "best.safetensors": ("a folder of a run", "give FOLDER/best.safetensors"),
    "model.safetensors": ("a folder of a repository", "give FOLDER/model.safetensors"),
    "pytorch_model.bin": ("a folder of a repository", "give FOLDER/pytorch_model.bin"),
    "zero_to_fp32.py": ("a checkpoint of DeepSpeed in parts", "run `python zero_to_fp32.py . weights.pth` in it, and give weights.pth"),
    ".metadata": (
        "a checkpoint of torch.distributed in parts",
        "run `python -m torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER weights.pth`, and give weights.pth",
    ),
    "saved_model.pb": ("a network of TensorFlow", BY_SAFETENSORS),
}
"""File in a folder -> what the folder is, and the remedy."""


def check_file(path: Path) -> bytes:
    """Return the first bytes of a file.

    Raises:
        UsageError: if there is no such file, it is empty, cannot be opened, or is of a format that is not read here, which is named.
    """
    if path.is_dir():
        what, remedy = next((known for name, known in FOREIGN_FOLDERS.items() if (path / name).exists()), ("a folder", ""))
        raise UsageError(f"{str(path)!r} is {what}; {remedy or 'give a file of weights, such as best.safetensors of a run'}")
    if not path.exists():
        raise UsageError(f"{str(path)!r} does not exist{_nearest_file(path)}; give a file of weights, such as best.safetensors of a run")
    if not path.is_file():
        raise UsageError(f"{str(path)!r} is no ordinary file; give a file of weights, such as best.safetensors of a run")
    try:
        with path.open("rb") as file:
            head = file.read(FIRST_BYTES)
    except OSError as error:
        raise UsageError(f"cannot open {str(path)!r}: {error.strerror}") from error
    if not head:
        raise UsageError(f"{str(path)!r} is empty: not a safetensors file, or cut short; fetch it again")
    if head[8:9] != b"{":  # a safetensors file begins with the 8-byte length of its JSON header, and those bytes may be any
        _check_foreign(path, head)
    return head


def _nearest_file(path: Path) -> str:
    """Return " (did you mean 'x'?)" for the file with the closest name in the folder; nothing if there is no such folder."""
    try:
        return nearest(path.name, (other.name for other in islice(path.parent.iterdir(), MOST_NAMES)))
    except OSError:
        return ""


def _check_foreign(path: Path, head: bytes) -> None:
    text = head.lstrip()
    found = next((known for known in FOREIGN if known.fits(text if known.start == b"<" else head, path.name)), None)
    if found is not None:
        raise UsageError(f"{str(path)!r} is {found.what}; {found.remedy}")
    if text.startswith((b"{", b"[")):
        raise UsageError(f"{str(path)!r} is {_json_file(path)}")
    if head.startswith(ZIP):
        _check_archive(path)
    elif head.startswith(PICKLE) and head[1:2] not in (b"", b"\x02"):
        raise _protocol_error(path, head[1])


def _json_file(path: Path) -> str:
    try:
        parts = json.loads(path.read_bytes()[: 2**24])["weight_map"]
        names = sorted({str(name) for name in parts.values()})
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return "a JSON file, not weights; give the file of weights that lies beside it"
    return (
        f"the index of weights in {len(names)} parts; join them: safetensors.torch.save_file({{name: tensor for part in PARTS "
        "for name, tensor in safetensors.torch.load_file(part).items()}, 'weights.safetensors')"
    )


def _check_archive(path: Path) -> None:
    """Raise UsageError unless a zip archive is what `torch.save` writes; damaged ones are left to its reader."""
    check_directory(path)
    try:
        with ZipFile(path) as archive:
            names = archive.namelist()
            data = next((name for name in names if name.rpartition("/")[2] == "data.pkl"), None)
            if data is None or any(name.endswith("constants.pkl") for name in names):
                found = (known for end, known in ARCHIVES.items() if any(name.endswith(end) for name in names))
                what, remedy = next(found, ("a zip archive without weights of PyTorch", UNPACK))
                raise UsageError(f"{str(path)!r} is {what}; {remedy}")
            with archive.open(data) as file:
                start = file.read(2)
    except UsageError:
        raise
    except Exception:  # whatever a damaged archive leads to: its reader says so
        return
    if start[:1] == PICKLE and start[1:2] not in (b"", b"\x02"):
        raise _protocol_error(path, start[1])


def _protocol_error(path: Path, protocol: int) -> UsageError:
    return UsageError(
        f"{str(path)!r} is pickled by protocol {protocol} and is not read: only 2, that of torch.save, is read safely; {REWRITE}"
    )
