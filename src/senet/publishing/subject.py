"""What a model card is about: trained weights, with what their metadata say of them."""

from dataclasses import dataclass
from typing import Any

from senet.recipe import CLASSIFICATION
from senet.results.metric import ACCURACIES, Metric
from senet.tasks.registry import PIPELINE_TAGS
from senet.weights.metadata import WeightsMetadata

METRICS = "val_metrics"
"""Where the training loop describes its metrics, among the evaluation numbers."""


@dataclass(frozen=True)
class Costs:
    """Size and arithmetic of a network.

    Args:
        input_size: (channels, height, width) of the image that was counted.
        params: parameters.
        block_params: those of its recalibration blocks.
        macs: multiply-accumulates per image.
        plain_macs: those of the same network without its blocks; None if that is not known.
    """

    input_size: tuple[int, ...]
    params: int
    block_params: int
    macs: int
    plain_macs: int | None = None


@dataclass(frozen=True)
class Subject:
    """Trained weights that a card is about.

    Args:
        repo: "USER/REPO".
        metadata: those of the weights; they name the network.
        costs: what the network costs.
        license: the hub's identifier of the weights' licence, such as "apache-2.0"; None = not said.
    """

    repo: str
    metadata: WeightsMetadata
    costs: Costs
    license: str | None = None

    @property
    def name(self) -> str:
        """Name of the network."""
        return self.metadata.model["name"]

    @property
    def blocks(self) -> list[dict[str, Any]]:
        """The recalibration blocks that the configuration names, each once."""
        options = self.metadata.model["options"]
        sites = [site for plan in options.get("inserted", ()) for site in plan["sites"]]
        found = [options["block"], *(site["block"] for site in sites)]
        return [block for index, block in enumerate(found) if block and block not in found[:index]]

    @property
    def pipeline(self) -> str | None:
        """What the hub calls the task; None if it is a user's own. Weights without a recipe are a classifier's."""
        return PIPELINE_TAGS.get((self.metadata.recipe or {}).get("task", CLASSIFICATION))

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What its evaluation numbers are measured in."""
        described = self.metadata.extra.get(METRICS)
        return ACCURACIES if described is None else tuple(map(Metric.from_dict, described))
