"""`senet shards`: image files with their targets as shards, for disks and object stores that are slow with many small files."""

from argparse import Namespace
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from senet.cli.arguments import CommandParser, add_json, check_folder
from senet.errors import UsageError
from senet.measuring.numbers import plural

if TYPE_CHECKING:
    from rich.table import Table

    from senet.data.shards.manifest import Manifest

SHARD_ACTIONS = ("build", "check")


@dataclass(frozen=True)
class ShardsReport:
    """Outcome: where the shards are, what they hold, and what a user should know of them."""

    place: str
    manifest: "Manifest"
    notes: tuple[str, ...]

    def table(self) -> "Table":
        """Return a table for the terminal."""
        from rich.table import Table

        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_row("shards", self.place)
        for name, split in self.manifest.splits.items():
            table.add_row(name, f"{plural(split.images, 'image')} in {plural(len(split.shards), 'shard')}, {split.bytes / 1e9:.3g} GB")
        table.add_row("task", self.manifest.task)
        table.add_row("classes", f"{len(self.manifest.classes)}")
        for note in self.notes:
            table.add_row("note", note)
        return table

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        splits = {
            name: {"images": split.images, "shards": len(split.shards), "bytes": split.bytes, "class_counts": list(split.class_counts)}
            for name, split in self.manifest.splits.items()
        }
        return {
            "place": self.place,
            "task": self.manifest.task,
            "classes": list(self.manifest.classes),
            "splits": splits,
            "notes": list(self.notes),
        }


def add_arguments(parser: CommandParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("action", choices=SHARD_ACTIONS, help="build: write shards of a folder; check: read all and compare checksums")
    parser.add_argument("root", help="build: the folder of images; check: the folder of shards")
    parser.add_argument("out", nargs="?", help="build: a new folder for the shards; one in which a build was interrupted goes on")
    parser.add_argument("--data-name", help="build: what root holds, such as folder, places365, masks or boxes; default: as recognised")
    parser.add_argument("--shard-mb", type=int, default=128, help="build: about how many megabytes a shard is large")
    parser.add_argument("--workers", type=int, help="how many shards are written or read at a time; default: one a processor, at most 8")
    add_json(parser)
    parser.takes_recipe = True
    parser.epilog = (
        "Fields of the data say what masks and boxes mean: --data.classes '[sky, tree]'. Train on them by "
        "--data.name shards --data.root OUT, or copy OUT to an object store and name its address."
    )


def run(args: Namespace) -> int:
    """Run one action."""
    for flag, value in (("--shard-mb", args.shard_mb), ("--workers", args.workers)):
        if value is not None and not 1 <= value <= 10**6:
            raise UsageError(f"{flag} must be from 1 to 1000000, got {value}")
    return {"build": _build, "check": _check}[args.action](args)


def _build(args: Namespace) -> int:
    from senet.cli.printing import show, with_steps
    from senet.data.image_tree import few
    from senet.data.recognised import recognised
    from senet.data.shards.build import build_shards
    from senet.data.shards.source import said_of
    from senet.data.source import open_data
    from senet.file_kind import user_path
    from senet.recipe import build_recipe

    if args.out is None:
        raise UsageError("`senet shards build` needs two folders: that of the images, and a new one for the shards")
    out = user_path(args.out)
    check_folder(out, args.out)
    if foreign := [name for name in args.changes if not name.startswith("data.")]:
        raise UsageError(f"--{foreign[0]} says nothing of shards; fields of the data do, such as --data.classes")
    recipe = build_recipe({"data": {"name": args.data_name or recognised(args.root), "root": args.root}}, args.changes).data
    source = open_data(recipe)
    with with_steps(quiet=args.json) as watch:
        built = build_shards(
            source,
            out,
            said=said_of(recipe),
            shard_bytes=args.shard_mb * 10**6,
            workers=args.workers,
            watch=lambda done, of: watch("writing shards", done, of),
        )
    empty = (f"{plural(len(built.empty), 'file')} could not be read, such as {few(built.empty)}",) if built.empty else ()
    there = sum(len(split.shards) for split in built.manifest.splits.values()) - built.written
    notes = (*source.notes, *empty, *((f"{plural(there, 'shard')} were there already",) if there else ()))
    show(ShardsReport(str(out), built.manifest, notes), as_json=args.json)
    return 0


def _check(args: Namespace) -> int:
    from senet.cli.printing import show, with_steps
    from senet.data.shards.check import check_shards
    from senet.file_kind import is_url, user_path

    if args.out is not None:
        raise UsageError(f"`senet shards check` takes one folder, got {args.out!r}, too")
    if is_url(args.root):
        raise UsageError(f"`senet shards check` reads a folder, and {args.root!r} is an address: check before the upload, or download it")
    with with_steps(quiet=args.json) as watch:
        manifest = check_shards(user_path(args.root), workers=args.workers, watch=lambda done, of: watch("reading shards", done, of))
    show(ShardsReport(args.root, manifest, ("all files are what was written",)), as_json=args.json)
    return 0
