"""What is asked of a segmenter's encoder: its name, its options, and trained weights for it alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from senet.errors import UsageError
from senet.models.classifier import Classifier
from senet.models.foreign import is_foreign
from senet.models.library_maps import LibraryMaps
from senet.models.pyramid import Pyramid
from senet.models.registry import PLAIN, build_model, resolve_block, split_name
from senet.models.released import needed_options
from senet.spec import BlockSpec, Recalibration
from senet.unit_values import counts_by_place
from senet.weights.bridge import Allowed
from senet.weights.load import load_opened
from senet.weights.loaded import LoadedWeights
from senet.weights.source import OpenedWeights, Source
from senet.weights.tensor_fingerprint import fingerprint_of_tensors

RECALIBRATION = ("block", "placement", "stages", "reduction")

ENCODER_OPTIONS = ("encoder", "encoder_options", "encoder_weights")

FROM_TIMM = "timm/"
"""How names of encoders from timm begin."""


@dataclass(frozen=True)
class EncoderRequest:
    """Encoder that a segmenter is to have.

    Args:
        name: of the zoo, or timm/NAME.
        options: of that network, as plain data.
        trained: the file of weights for it, opened; True = those that timm has; None = it is drawn anew.
    """

    name: str
    options: Mapping[str, Any]
    trained: OpenedWeights | bool | None = None

    @classmethod
    def parse(
        cls, name: str, options: Mapping[str, Any] | None = None, weights: str | Path | Mapping[str, Any] | bool | None = None
    ) -> "EncoderRequest":
        """Read `encoder`, `encoder_options` and `encoder_weights` of `senet.create_model`.

        Raises:
            UsageError: for an unknown network or option, or weights that do not fit it.
        """
        if options is not None and not isinstance(options, Mapping):
            raise UsageError(f"encoder_options are the encoder's own, by name, such as {{'v1_5': True}}; got {options!r}")
        chosen = dict(options or {})
        check_encoder(name)
        if name.startswith(FROM_TIMM):
            if not (weights is None or isinstance(weights, bool)):
                raise UsageError(f"{name} takes encoder_weights=True, those that timm has, not {weights!r}; senet.load_weights takes files")
            return cls(name, chosen, weights or None)
        if isinstance(weights, bool):
            raise UsageError(f"encoder_weights of {name} are a file or the name of a release, as 'timm/legacy_seresnet50', not {weights}")
        opened = None if weights is None else Source.parse(weights).open()
        if opened is not None:
            block = chosen.get("block", "auto")
            needed = needed_options(opened, name, {**chosen, "block": block})
            name = split_name(name)[1] if "block" in needed else name
            chosen |= needed
        return cls(name, _plain_options(name, chosen), opened)

    def to_options(self) -> dict[str, Any]:
        """Return what a segmenter's configuration says of its encoder."""
        return {"encoder": self.name, "encoder_options": dict(self.options)}

    def load(self, encoder: nn.Module, adapt_input: str | None) -> None:
        """Load the trained weights, if there are any, into the encoder that `make_encoder` made."""
        if self.trained is True:
            assert isinstance(encoder, LibraryMaps)
            if not any(tensor.is_meta for tensor in encoder.parameters()):  # an outline needs no connection
                encoder.load_trained(adapt_input)
        elif isinstance(self.trained, OpenedWeights):
            load_opened(encoder, self.trained, Allowed(adapt_input=adapt_input))

    def loaded(self, encoder: nn.Module) -> LoadedWeights | None:
        """Return what the encoder began from, once it is loaded; its options are then those that it needs."""
        if self.trained is True:
            return LoadedWeights(self.name, fingerprint_of_tensors(encoder.state_dict()), options=self.to_options())
        if isinstance(self.trained, OpenedWeights):
            return LoadedWeights(self.trained.source.text, self.trained.fingerprint(), options=self.to_options())
        return None


def take_encoder(options: dict[str, Any]) -> EncoderRequest | None:
    """Take what is asked of an encoder out of the options of `senet.create_model`, and put its name and its own options there instead.

    Raises:
        UsageError: as `EncoderRequest.parse` does, or for options of an encoder that is not named.
    """
    given = {option: options.pop(option) for option in ENCODER_OPTIONS if option in options}
    name, own, weights = (given.get(option) for option in ENCODER_OPTIONS)
    if name is None:
        if others := [option for option, value in given.items() if value]:
            raise UsageError(f"{others[0]} are of an encoder, and none is named: encoder='se_resnet50' or 'timm/resnet18', or leave it out")
        return None
    request = EncoderRequest.parse(name, own, weights)
    options |= request.to_options()
    return request


def check_encoder(name: object) -> None:
    """Raise UsageError unless a name is that of a network whose maps can be decoded: of the zoo's classifiers, or timm/NAME."""
    if isinstance(name, str) and name.startswith(FROM_TIMM):
        return
    if not isinstance(name, str) or is_foreign(name):
        raise UsageError(f"an encoder is a network of the zoo, such as 'se_resnet50', or of timm, such as 'timm/resnet18'; got {name!r}")
    if split_name(name)[1] not in CLASSIFIERS:
        raise UsageError(f"{name} is a segmenter, no encoder; encoders are the zoo's classifiers, such as 'se_resnet50', and timm/NAME")


def make_encoder(name: str, in_channels: int, options: Mapping[str, Any]) -> nn.Module:
    """Build an encoder, on torch's default device: the zoo's with undefined weights there, to be initialised by `reset_parameters`.

    Args:
        name: of the zoo, or timm/NAME.
        in_channels: channels of the images.
        options: as `EncoderRequest` has them.

    Raises:
        UsageError: as `EncoderRequest.parse` does.
    """
    check_encoder(name)
    if name.startswith(FROM_TIMM):
        return LibraryMaps(name, in_channels, options)
    own = dict(options)
    recalibration = Recalibration("auto")
    if "block" in own:
        name = split_name(name)[1]
        block, stages = own.pop("block"), own.pop("stages", None)
        spec = None if block is None else BlockSpec.from_saved(block)
        recalibration = Recalibration(spec, own.pop("placement", "standard"), None if stages is None else tuple(stages))
    network = build_model(name, recalibration, num_classes=1, in_channels=in_channels, device="meta", **own)
    assert isinstance(network, Classifier)
    return Pyramid(network)


def _plain_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return an encoder's options as plain data: what recalibrates it resolved, if anything is said of that."""
    own = {option: value for option, value in options.items() if option not in RECALIBRATION}
    asked = {option: value for option, value in options.items() if option in RECALIBRATION}
    if not asked:
        return own
    if isinstance(asked.get("block"), Mapping):  # as a configuration has it
        return {**own, **asked}
    kind, plain = split_name(name)
    resolved = resolve_block(name, kind, PLAIN[plain], Recalibration(**asked))
    if resolved.block is not None and not isinstance(resolved.block, BlockSpec):
        raise UsageError("the block of an encoder is a kind, a BlockSpec or None, not a function")
    stages = counts_by_place(resolved.stages)
    block = None if resolved.block is None else resolved.block.to_dict()
    return {**own, "block": block, "placement": resolved.placement, "stages": stages}


def _is_classifier(name: str) -> bool:
    network: Any = PLAIN[name].network
    return issubclass(network, Classifier)


CLASSIFIERS = tuple(filter(_is_classifier, PLAIN))
"""Networks of the zoo that give maps for a decoder."""
