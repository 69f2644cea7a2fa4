"""What the plan of an insertion may say, whoever wrote it: no name in it can be more than a name.

Names of blocks end in the source of rewritten forwards, and those of values are looked up in graphs: both are identifiers. Paths are only
looked up among a network's modules, whose names may have more characters.
"""

from senet.schema import FLAG, IDENTIFIER, Requirement, either, finite, integer, items, one_of, optional, record, text
from senet.spec import PLACEMENTS, WRITTEN_BLOCK, BlockSpec

UNIT_KINDS = ("residual", "dense", "concat", "depthwise", "encoder", "bottleneck", "decoder", "chain", "module")
POSITIONS = ("output", "input", "graph")
INITS = ("paper", "identity")

BLOCK_NAME = text(6, pattern=r"se\d*", what="the name of a block, se or se2, se3, ...,")
PATH = text(1000, pattern=r"(?u:[\w /+-]+(\.[\w /+-]+)*)?", what="the path of a module, such as layer1.0.bn2,")
CLASS = text(200, low=1, pattern=r"(?u:[\w.<>\[\], ]+)", what="the name of a class")
REMARK = text(4000)

SITE = {
    "path": PATH,
    "position": one_of(*POSITIONS),
    "host": CLASS,
    "kind": one_of(*UNIT_KINDS),
    "placement": one_of(*PLACEMENTS),
    "stage": integer(0, 1000),
    "channels": integer(1, 2**20),
    "block": either(Requirement("a block", lambda block: isinstance(block, BlockSpec)), WRITTEN_BLOCK),
    "container": PATH,
    "axis": Requirement("1 to 4, or -1", lambda axis: type(axis) is int and axis in (-1, 1, 2, 3, 4)),
    "aliases": items(PATH),
    "node": either(text(0, what="empty"), IDENTIFIER),
    "users": items(IDENTIFIER),
    "shortcut": either(text(0, what="empty"), IDENTIFIER),
    "name": BLOCK_NAME,
    "existing": FLAG,
    "gain": finite(-1e6, 1e6),
    "note": REMARK,
}
"""Field of a `Site` -> what it may be."""

REQUIRED = ("path", "position", "host", "kind", "placement", "stage", "channels", "block", "container")

PLAN = {
    "model": CLASS,
    "init": optional(one_of(*INITS)),
    "notes": items(REMARK, high=10_000),
}
"""Field of an `InsertPlan`, but for its sites -> what it may be."""

WRITTEN_PLAN = record(PLAN | {"sites": items(record(SITE, needed=REQUIRED), high=10_000)}, needed=("model", "sites"))
"""A plan as `InsertPlan.to_dict` writes it."""
