"""What `shards.json` says of a set of shards: classes, splits, and every file with its size and checksum."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from senet.errors import UsageError
from senet.jsontext import json_text
from senet.schema import integer, items, one_of, read_json, record, table, text

MANIFEST = "shards.json"

VERSION = 1

SHARDED_SPLITS = ("train", "val")

CHECKSUM = text(64, low=64, pattern="[0-9a-f]*", what="a SHA-256")

FILE_NAME = text(100, low=1, pattern=r"[a-z0-9][a-z0-9.-]*", what="the name of a file")
"""Names that lead nowhere else, on a disk or in a store."""

STORED_FILE = {"file": FILE_NAME, "bytes": integer(0, 2**50), "sha256": CHECKSUM}

SAID_FIELDS = ("masks", "classes", "palette", "label_map", "ignore_index")
"""Fields of a recipe that say what masks or boxes mean, which is settled when shards are built."""

SPLIT = record(
    {
        "images": integer(1, 2**40),
        "class_counts": items(integer(0, 2**40), high=10**6),
        "index": record(STORED_FILE, needed=tuple(STORED_FILE)),
        "shards": items(record(STORED_FILE, needed=tuple(STORED_FILE)), low=1, high=10**6),
    },
    needed=("images", "class_counts", "index", "shards"),
)

RULE = record(
    {
        "version": integer(1, 2**31),
        "task": one_of("classification", "segmentation", "detection"),
        "plan": CHECKSUM,
        "classes": items(text(4096), low=1, high=10**6),
        "splits": table(one_of(*SHARDED_SPLITS), SPLIT),
        "palette": items(items(integer(0, 255), low=3, high=3), high=256),
        "said": table(one_of(*SAID_FIELDS), text(2**16)),
    },
    needed=("version", "task", "plan", "classes", "splits"),
)
"""The rule for what a manifest may say."""


@dataclass(frozen=True)
class StoredFile:
    """One file of a set of shards.

    Args:
        file: its name in the set's folder.
        bytes: its size.
        sha256: of its content, in hexadecimal digits.
    """

    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class ShardedSplit:
    """Shards of one split.

    Args:
        images: how many they hold.
        class_counts: images of each class; with masks those that hold it, with boxes its objects.
        index: the file that says where each image lies.
        shards: the tar files.
    """

    images: int
    class_counts: tuple[int, ...]
    index: StoredFile
    shards: tuple[StoredFile, ...]

    @property
    def bytes(self) -> int:
        """Size of all shards."""
        return sum(shard.bytes for shard in self.shards)


@dataclass(frozen=True)
class Manifest:
    """Description of a set of shards.

    Args:
        plan: digest of the images that they were made of and of the way they were dealt out.
        task: "classification", "segmentation" or "detection".
        classes: names, in the order of their indices.
        splits: "train" and "val".
        palette: (red, green, blue) to show each class in; None = nothing says so.
        said: what `SAID_FIELDS` said when they were built, as text.
    """

    plan: str
    task: str
    classes: tuple[str, ...]
    splits: dict[str, ShardedSplit]
    palette: tuple[tuple[int, int, int], ...] | None = None
    said: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the text of the manifest's file."""
        tree = {"version": VERSION, **asdict(self)}
        return json_text({name: value for name, value in tree.items() if value not in (None, {})}) + "\n"

    @property
    def files(self) -> tuple[StoredFile, ...]:
        """All files but the manifest's own."""
        return tuple(file for split in self.splits.values() for file in (split.index, *split.shards))


def read_manifest(content: bytes, where: str) -> Manifest:
    """Read a manifest; `where` is what errors call it.

    Raises:
        UsageError: if it is of a newer version, or says what it may not.
    """
    tree = read_json(content, where)
    version = tree.get("version") if isinstance(tree, dict) else None
    if isinstance(version, int) and version > VERSION:
        raise UsageError(f"{where} is of version {version}, and this senet reads {VERSION}; install a newer one, or build the shards again")
    RULE.check(tree, where)
    if missing := set(SHARDED_SPLITS) - set(tree["splits"]):
        raise UsageError(f"{where}: splits: {missing.pop()!r} is missing; build the shards again")
    splits = {name: _split(split) for name, split in tree["splits"].items()}
    for name, split in splits.items():
        if len(split.class_counts) != len(tree["classes"]) or (
            tree["task"] == "classification" and sum(split.class_counts) != split.images
        ):
            raise UsageError(f"{where}: splits.{name}: class_counts must be {len(tree['classes'])} numbers that sum up to {split.images}")
    palette = tuple((red, green, blue) for red, green, blue in tree["palette"]) if "palette" in tree else None
    return Manifest(tree["plan"], tree["task"], tuple(tree["classes"]), splits, palette, tree.get("said", {}))


def _split(tree: dict[str, Any]) -> ShardedSplit:
    shards = tuple(StoredFile(**shard) for shard in tree["shards"])
    return ShardedSplit(tree["images"], tuple(tree["class_counts"]), StoredFile(**tree["index"]), shards)
