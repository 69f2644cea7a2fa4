"""How a recipe says that a trained network is made smaller before it is fine-tuned: "none", "fold0.1", "gate0.7@latency"."""

import re
from dataclasses import dataclass

from senet.errors import UsageError, nearest
from senet.schema import brief

COMPRESS = "model.compress"
"""The field of what a trained network is made of before it is trained on."""

AS_IT_IS, FOLD = "none", "fold"

GATE_RANKS = ("gate", "gate_spread", "gate_activation")
"""Rankings of channels that ask the network's blocks."""

RANK_NAMES = (*GATE_RANKS, "l1", "l2", "taylor", "random")
"""By what channels can be ranked, see `senet.prune`."""

SCOPES_OF_CUTS = ("global", "layer")

LEFT_OF = {"macs": "MACs", "params": "parameters", "memory": "memory", "latency": "latency"}
"""What a pruned network can have a share of -> how people read it; the first is meant where none is named."""

TIMED = "latency"
"""The one that is measured; the others are counted."""

FOLD_TOLERANCE = 0.1
"""Points of the primary metric that folding may cost where nothing is said."""

COMPRESS_EXAMPLES = "none, fold, fold0.5, gate0.7, l1_0.7, taylor0.5@latency"

_RANK = "|".join(sorted(RANK_NAMES, key=len, reverse=True))  # l1 of l1_0.7 is a rank, gate of gate_spread0.7 is not
_FOLD = re.compile(FOLD + r"_?(?P<amount>\d{1,3}(\.\d{1,9})?)?")
_PRUNE = re.compile(f"(?P<rank>{_RANK})" + r"_?(?P<amount>0\.\d{1,9})(@(?P<cost>[^\W\d]+)(?P<batch>[1-9]\d{0,3})?)?(:(?P<scope>\w+))?")


@dataclass(frozen=True)
class Compression:
    """Way to make a trained network smaller.

    Args:
        rank: by what channels are ranked, one of `RANK_NAMES`; None = no channel goes, gates are folded.
        amount: share of the cost that is left; of folding, the points of the primary metric that it may cost.
        cost: what that is a share of, one of `LEFT_OF`.
        scope: one of `SCOPES_OF_CUTS`: "global", the least important channels of the network go, or "layer", as many of every layer.
        batch: images that are timed together, where the cost is the latency.
    """

    rank: str | None
    amount: float
    cost: str = next(iter(LEFT_OF))
    scope: str = "global"
    batch: int = 1

    @property
    def needs_gates(self) -> bool:
        """Whether a network without blocks has nothing to be compressed by."""
        return self.rank is None or self.rank in GATE_RANKS

    @property
    def text(self) -> str:
        """What a recipe says for it."""
        if self.rank is None:
            return f"{FOLD}{_decimal(self.amount)}"
        batch, scope = "" if self.batch == 1 else self.batch, "" if self.scope == "global" else f":{self.scope}"
        return f"{self.rank}_{_decimal(self.amount)}@{self.cost}{batch}{scope}"

    @property
    def ending(self) -> str:
        """What is left, by whichever rank: how the names of files end that compare several."""
        if self.rank is None:
            return self.text
        batch, scope = "" if self.batch == 1 else f"-batch{self.batch}", "" if self.scope == "global" else f"-{self.scope}"
        return f"{self.cost}{_decimal(self.amount)}{batch}{scope}"

    @property
    def left_of(self) -> str:
        """What people call that of which a share is left: "MACs", "latency of 64 images"."""
        return LEFT_OF[self.cost] if self.batch == 1 else f"{LEFT_OF[self.cost]} of {self.batch} images"

    @property
    def label(self) -> str:
        """What tables and charts call it: "folded 0.1", "gate 0.7 of MACs"."""
        by_layer = " by layer" if self.scope == "layer" else ""
        return f"folded {self.amount:g}" if self.rank is None else f"{self.rank} {self.amount:g} of {self.left_of}{by_layer}"


def parse_compress(text: str) -> Compression | None:
    """Return what `model.compress` says; None for "none".

    "fold" folds gates as long as that costs 0.1 points, "fold0.5" half a point. "gate0.7" ranks channels by gates and prunes until 0.7 of
    the MACs are left; "l1_0.7@latency" ranks them by their weights, until 0.7 of the measured latency of one image is left, "@latency64"
    of 64 images together; "l1_0.7:layer" takes the same share of the channels of every layer.

    Raises:
        UsageError: if it says something else; the nearest ranking or cost is named.
    """
    if text == AS_IT_IS:
        return None
    if found := _FOLD.fullmatch(text):
        return Compression(None, FOLD_TOLERANCE if found["amount"] is None else float(found["amount"]))
    found = _PRUNE.fullmatch(text)
    if found and found["cost"] in (None, *LEFT_OF) and found["scope"] in (None, *SCOPES_OF_CUTS) and 0 < float(found["amount"]) < 1:
        cost, batch = found["cost"] or next(iter(LEFT_OF)), int(found["batch"] or 1)
        if batch == 1 or cost == TIMED:
            return Compression(found["rank"], float(found["amount"]), cost, found["scope"] or "global", batch)
    raise UsageError(f"model.compress must be such as {COMPRESS_EXAMPLES}, got {brief(text)}{_fix(text)}")


def _decimal(amount: float) -> str:
    return f"{amount:.9f}".rstrip("0").rstrip(".")


def _fix(text: str) -> str:
    """Return what is wrong with a text that is no compression, as far as that can be told."""
    whole, _, scope = text.partition(":")
    name, _, cost = whole.partition("@")
    if scope and scope not in SCOPES_OF_CUTS:
        return f": channels cannot go by {brief(scope)}{nearest(scope, SCOPES_OF_CUTS)}; allowed: {', '.join(SCOPES_OF_CUTS)}"
    if cost and (named := cost.rstrip("0123456789")) not in LEFT_OF:
        return f": a share of {brief(cost)} is unknown{nearest(named, LEFT_OF)}; allowed: {', '.join(LEFT_OF)}"
    if cost not in ("", *LEFT_OF) and not cost.startswith(TIMED):
        return f": only {TIMED} has a number of images behind it, {TIMED}64; others are the same for any"
    if re.fullmatch(f"({_RANK})[_0-9.]*", name):
        return ": a ranking has the share that is left, above 0 and below 1, behind it"
    return f"{nearest(name.rstrip('_.0123456789'), (*RANK_NAMES, FOLD, AS_IT_IS))}; rankings: {', '.join(RANK_NAMES)}"
