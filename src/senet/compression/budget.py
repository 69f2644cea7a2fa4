"""How much the blocks of a network may cost: parameters or measured time, of the network or of its blocks."""

import math
import re
from dataclasses import dataclass
from typing import Literal, get_args

from senet.errors import UsageError
from senet.spec import check_choice

BudgetCost = Literal["params", "block params", "latency"]

AMOUNT = re.compile(r"(\d+(?:\.\d*)?|\.\d+)([kMG]?)", re.ASCII)
POWERS = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}


@dataclass(frozen=True)
class Budget:
    """Limit of what a network may cost.

    Args:
        amount: above 1 a number of parameters; else a share of what the network costs as it is.
        cost: "params" of the whole network, "block params" of its blocks alone, or "latency", the measured time of an image.

    Raises:
        UsageError: for an amount that is not above 0, or a latency that is no share.
    """

    amount: float
    cost: BudgetCost = "params"

    def __post_init__(self) -> None:
        check_choice("cost", self.cost, get_args(BudgetCost))
        if not (math.isfinite(self.amount) and self.amount > 0):
            raise UsageError(f"a budget of {self.cost} is a share such as 0.9, or a number of parameters such as 1.5M; got {self.amount}")
        if self.cost == "latency" and self.amount > 1:
            raise UsageError(f"a budget of latency is a share of what the network takes as it is, such as 0.9; got {self.amount:g}")

    @classmethod
    def parse(cls, text: str, cost: BudgetCost = "params") -> "Budget":
        """Read "0.9", "1.5M" or "900k".

        Raises:
            UsageError: for anything else, or as the constructor does.
        """
        found = AMOUNT.fullmatch(text.strip())
        if found is None:
            raise UsageError(f"a budget of {cost} is a share such as 0.9, or a number of parameters such as 900k or 1.5M; got {text!r}")
        return cls(float(found[1]) * POWERS[found[2]], cost)

    def limit(self, whole: int) -> float:
        """Return the largest number of parameters allowed, of so many."""
        return self.amount * whole if self.amount <= 1 else self.amount

    def __str__(self) -> str:
        share = f"{self.amount:g} of the {'time' if self.cost == 'latency' else 'parameters'}"
        amount = share if self.amount <= 1 else f"{self.amount:,.0f} parameters"
        return f"{amount}{' in blocks' if self.cost == 'block params' else ''}"
