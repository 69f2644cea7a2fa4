"""The plan of an insertion: what goes where, to be read, narrowed, saved and applied."""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from rich.table import Table

from senet.errors import UsageError
from senet.insertion.narrow import narrow_bottlenecks
from senet.insertion.patterns import close_matches, compile_pattern
from senet.insertion.written import PLAN, SITE, WRITTEN_PLAN
from senet.schema import read_json, record
from senet.spec import BlockSpec
from senet.terminal import as_text
from senet.text import printable_lines


@dataclass(frozen=True)
class Site:
    """Place of one block: what goes where.

    Args:
        path: the module that is wrapped, or, with position "graph", whose forward is rewritten.
        position: whether the block acts on the module's "output", on its first "input", or on a value inside it ("graph").
        host: the module's class.
        kind: what was recognised: residual, dense, concat, depthwise, encoder, bottleneck, decoder, chain, or module (chosen by the user).
        placement: where the block sits in its unit.
        stage: the network's own number; else log2 of the stride at the unit's result, so that stride 4 is stage 2, as in the papers.
        channels: channels that the block recalibrates.
        block: which block.
        container: the smallest module that holds the unit; the block is proved to be on its path.
        axis: axis of the channels, from 0: 1, or the last one where they come last; -1 is the last one too.
        aliases: further paths of the same module.
        node: name of the value inside the module.
        users: names of the operations that see the recalibrated value.
        shortcut: name of the shortcut's value, for blocks that see both.
        name: name of the block's sub-module.
        existing: whether the unit has a gate already.
        gain: constant factor behind the block.
        note: what a reader should know.

    Raises:
        UsageError: if a field is not what `senet.insertion.written.SITE` says, or a site inside a module does not name its value and users.
    """

    path: str
    position: str
    host: str
    kind: str
    placement: str
    stage: int
    channels: int
    block: BlockSpec
    container: str
    axis: int = 1
    aliases: tuple[str, ...] = ()
    node: str = ""
    users: tuple[str, ...] = ()
    shortcut: str = ""
    name: str = "se"
    existing: bool = False
    gain: float = 1.0
    note: str = ""

    def __post_init__(self) -> None:
        record(SITE).check(vars(self), "site of a plan")
        if (self.position == "graph") != bool(self.node and self.users):
            raise UsageError(f"site of a plan: node and users belong to the position 'graph' and to no other, got {self.position!r}")

    @property
    def block_path(self) -> str:
        """Path of the block in the network it is inserted into, as far as this site alone moves it."""
        return f"{self.path}.{self.name}" if self.path else self.name

    @property
    def where(self) -> str:
        """The place in words."""
        inner = f"{self.node} in {self.host}" if self.node else self.host
        return {"output": f"behind {self.host}", "input": f"before {self.host}", "graph": f"behind {inner}"}[self.position]


@dataclass(frozen=True)
class InsertPlan:
    """Sites of one insertion; nothing changes until `senet.insert(model, plan)`.

    Args:
        model: class of the network it was made for.
        sites: what goes where, in the order of execution.
        init: how the blocks start: "paper" or "identity"; None = not inserted yet.
        notes: what was left out, and why.

    Raises:
        UsageError: if a field is not what `senet.insertion.written.PLAN` says.
    """

    model: str
    sites: tuple[Site, ...]
    init: str | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        record(PLAN).check({name: getattr(self, name) for name in PLAN}, "plan")

    def __len__(self) -> int:
        return len(self.sites)

    def __iter__(self) -> Iterator[Site]:
        return iter(self.sites)

    def keep(self, *, stages: Collection[int] | None = None, paths: str | None = None, limit: int | None = None) -> "InsertPlan":
        """Return the plan with only some of its sites.

        Args:
            stages: the stages to keep.
            paths: a regular expression to search for in the paths.
            limit: keep the first so many.

        Raises:
            UsageError: if nothing is left; what there is, or comes near, is named.
        """
        sites = self.sites
        if stages is not None:
            sites = tuple(site for site in sites if site.stage in stages)
            if not sites:
                there = ", ".join(map(str, sorted({site.stage for site in self.sites})))
                raise UsageError(f"no site is in stages {', '.join(map(str, stages))}; there are sites in stages {there}")
        if paths is not None:
            kept = tuple(site for site in sites if compile_pattern(paths).search(site.path))
            if not kept:
                raise UsageError(f"no path matches {paths!r}; {close_matches(paths, [site.path for site in sites])}")
            sites = kept
        if limit is not None and limit < 1:
            raise UsageError(f"limit must be at least 1, got {limit}")
        return replace(self, sites=sites[:limit])

    def table(self) -> Table:
        """Return one row a site."""
        table = Table("path", "stage", "channels", "kind", "placement", "block", "place", box=None, pad_edge=False)
        for site in self.sites:
            options = " ".join(f"{name}={value}" for name, value in site.block.options.items())
            row = (str(site.stage), str(site.channels), site.kind, site.placement, f"{site.block.kind} {options}".strip(), site.where)
            table.add_row(site.path or "(the network)", *row)
        for column in table.columns[1:3]:
            column.justify = "right"
        table.caption = "\n".join(self.remarks())
        table.caption_justify = "left"
        return table

    def remarks(self) -> list[str]:
        """Return what a reader should know beside the rows, one line each."""
        places: dict[str, list[str]] = {}
        for site in self.sites:
            places.setdefault(site.note, []).append(site.path)
        places |= narrow_bottlenecks(self.sites)
        noted = [f"{_several(paths)}: {note}" for note, paths in places.items() if note]
        return [f"{len(self)} blocks in {self.model}", *self.notes, *noted]

    def __str__(self) -> str:
        table = self.table()
        table.caption = None
        return "\n".join([as_text(table, 140), printable_lines("\n".join(self.remarks()))])

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        sites = [asdict(site) | {"block": site.block.to_dict()} for site in self.sites]
        return {"model": self.model, "init": self.init, "notes": list(self.notes), "sites": sites}

    def to_json(self) -> str:
        """Return the plan as JSON that `from_json` reads back to an equal plan."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any], where: str = "plan") -> "InsertPlan":
        """Build a plan from plain data; `where` is what errors call it.

        Raises:
            UsageError: if it is not what `to_dict` gives; the field is named.
        """
        WRITTEN_PLAN.check(tree, where)
        return cls(tree["model"], tuple(map(_site, tree["sites"])), tree.get("init"), tuple(tree.get("notes", ())))

    @classmethod
    def from_json(cls, text: str) -> "InsertPlan":
        """Build a plan from what `to_json` wrote.

        Raises:
            UsageError: if the text is not a plan.
        """
        return cls.from_dict(read_json(text, "plan"))


def _several(paths: list[str]) -> str:
    return paths[0] if len(paths) == 1 else f"{len(paths)} sites, from {paths[0]} to {paths[-1]}"


def _site(tree: Mapping[str, Any]) -> Site:
    values: dict[str, Any] = dict(tree) | {name: tuple(tree.get(name, ())) for name in ("aliases", "users")}
    values["block"] = BlockSpec.from_saved(tree["block"])
    return Site(**values)
