"""A table of the networks: parameters, classes, input."""

from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from senet.errors import UsageError, nearest
from senet.models.create import create_model
from senet.models.network import Network
from senet.models.registry import list_models


@dataclass(frozen=True)
class ModelRow:
    """Facts of one network: name, learnable parameters, those of its blocks, blocks, classes, (C, H, W) or (C, D, H, W) of its images."""

    name: str
    parameters: int
    block_parameters: int
    blocks: int
    num_classes: int
    input_size: tuple[int, ...]


@dataclass(frozen=True)
class ModelListing:
    """Rows of the networks that a pattern matched."""

    rows: tuple[ModelRow, ...]

    @classmethod
    def of(cls, pattern: str) -> "ModelListing":
        """List the networks that match a shell wildcard.

        Raises:
            UsageError: if none does; the nearest name is given.
        """
        names = list_models(pattern)
        if not names:
            raise UsageError(f"no model matches {pattern!r}{nearest(pattern, list_models())}; `senet models` lists all")
        return cls(tuple(_row(name) for name in names))

    def table(self) -> Table:
        """Return the listing as a rich table."""
        table = Table("model", *(("parameters", "of blocks", "blocks", "classes", "input")), box=None, pad_edge=False)
        for column in table.columns[1:]:
            column.justify = "right"
        for row in self.rows:
            size = "x".join(map(str, row.input_size))
            table.add_row(row.name, f"{row.parameters:,}", f"{row.block_parameters:,}", str(row.blocks), str(row.num_classes), size)
        return table

    def to_dict(self) -> dict[str, Any]:
        """Return the listing as plain data."""
        return {"models": [asdict(row) for row in self.rows]}


def _row(name: str) -> ModelRow:
    model = create_model(name, device="meta")
    assert isinstance(model, Network)
    blocks = [module for path, module in model.named_modules() if path.endswith(".se")]
    block_parameters = sum(p.numel() for block in blocks for p in block.parameters())
    total = sum(p.numel() for p in model.parameters())
    return ModelRow(name, total, block_parameters, len(blocks), model.config.options["num_classes"], model.input_size)
