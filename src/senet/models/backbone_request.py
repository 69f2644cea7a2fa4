"""What is asked of a detector's backbone: its name, its options, its block, and trained weights for it alone."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from senet.errors import UsageError
from senet.models.encoder_request import CLASSIFIERS
from senet.models.foreign import is_foreign
from senet.models.registry import PLAIN, split_name
from senet.models.released import needed_options
from senet.spec import BlockSpec, Recalibration
from senet.weights.bridge import Allowed
from senet.weights.load import load_opened
from senet.weights.loaded import LoadedWeights
from senet.weights.source import OpenedWeights, Source

WHERE_TRAINED = {"frozen_stages": 2, "frozen_bn": True}
"""What stands still of a backbone with trained weights unless told otherwise, as in Detectron: stem, first stage and batch norms."""


@dataclass(frozen=True)
class BackboneRequest:
    """Backbone that a detector is to have.

    Args:
        options: of the detector, with the backbone's plain name and its own options among them.
        recalibration: of the backbone: the detector's, or what the backbone's name says.
        trained: the file of weights for it, opened; None = it is drawn anew.
    """

    options: Mapping[str, Any]
    recalibration: Recalibration
    trained: OpenedWeights | None = None

    @classmethod
    def parse(cls, name: str, recalibration: Recalibration, options: Mapping[str, Any], *, is_trained: bool) -> "BackboneRequest":
        """Read the options of a detector for `senet.create_model`.

        Args:
            name: of the detector; where its prefix names a block, the backbone's name must not.
            recalibration: what is asked of the detector.
            options: `backbone`, `backbone_options`, `backbone_weights`, and others that stay as they are.
            is_trained: whether weights of the whole detector follow.

        Raises:
            UsageError: for an unknown backbone, one with a block of its own beside another, or weights that do not fit it.
        """
        kept = dict(options)
        weights, own = kept.pop("backbone_weights", None), kept.get("backbone_options")
        if own is not None and not isinstance(own, Mapping):
            raise UsageError(f"backbone_options are the backbone's own, by name, such as {{'v1_5': True}}; got {own!r}")
        backbone = kept.get("backbone", PLAIN[split_name(name)[1]].options["backbone"])
        check_backbone(backbone)
        kind, plain = split_name(backbone)
        kind = kind or PLAIN[plain].block
        if kind is not None and recalibration.block == "auto":
            if split_name(name)[0] is not None:
                raise UsageError(f"{name!r} and backbone={backbone!r} both name a block: say it once")
            recalibration = replace(recalibration, block=kind)
        elif kind is not None and recalibration.block is not None and PLAIN[plain].block is None:
            raise UsageError(
                f"backbone={backbone!r} already names its block: drop block={recalibration.block!r}, or use backbone={plain!r}"
            )
        opened = None
        if weights is not None:
            if is_trained:
                raise UsageError("weights of the whole network hold its backbone's: leave out backbone_weights")
            opened = Source.parse(weights).open()
            block = split_name(name)[0] or recalibration.block
            needed = needed_options(opened, plain, {**dict(own or {}), "block": None if block == "auto" else block})
            if "block" in needed:
                recalibration = replace(recalibration, block=needed.pop("block"))
            own = {**dict(own or {}), **needed}
        kept["backbone"] = plain
        kept["backbone_options"] = dict(own) if own else None
        if opened is not None or is_trained:
            kept = WHERE_TRAINED | kept
        return cls(kept, recalibration, opened)

    def load(self, backbone: nn.Module, adapt_input: str | None) -> None:
        """Load the trained weights, if there are any, into the backbone of a detector."""
        if self.trained is not None:
            load_opened(backbone, self.trained, Allowed(adapt_input=adapt_input))

    def loaded(self) -> LoadedWeights | None:
        """Return what the backbone begins from; its options, and what stands still of it, are then those that it needs."""
        if self.trained is None:
            return None
        needed = {name: self.options[name] for name in ("backbone_options", *WHERE_TRAINED)}
        if isinstance(self.recalibration.block, BlockSpec):  # which its name says too where it has one of its own
            needed |= {"backbone": self.options["backbone"], "block": self.recalibration.block}
        return LoadedWeights(self.trained.source.text, self.trained.fingerprint(), options=needed)


def is_detector(name: str) -> bool:
    """Return whether a network of the zoo is a detector, by its name; unknown names are none."""
    return any(name == plain or name.endswith(f"_{plain}") for plain in DETECTORS)


def check_backbone(name: object) -> None:
    """Raise UsageError unless a name is that of a network whose maps detectors can take: one of the zoo's classifiers."""
    if not isinstance(name, str) or is_foreign(name):
        raise UsageError(
            f"a backbone is a network of the zoo, such as 'se_resnet50'; got {name!r}. Blocks come into other libraries' detectors by "
            "senet.insert"
        )
    if split_name(name)[1] not in CLASSIFIERS:
        raise UsageError(f"{name} is no backbone; backbones are the zoo's classifiers, such as 'se_resnet50'")


DETECTORS = tuple(name for name, family in PLAIN.items() if "backbone" in family.options)
"""Networks of the zoo that find boxes."""
