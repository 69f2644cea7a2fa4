"""Trained weights that timm and torchvision have for their own networks, by name: timm/NAME.TAG, torchvision/NAME.WEIGHTS."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from senet.blocks.kinds import modules_of_blocks
from senet.errors import UsageError
from senet.file_kind import file_kind, user_path
from senet.models.libraries import LIBRARIES
from senet.weights.bridge import heads_of
from senet.weights.loaded import LoadedWeights
from senet.weights.tensor_fingerprint import fingerprint_of_tensors

log = logging.getLogger("senet")

TORCHVISION_CLASSES = 1000
"""Classes of torchvision's classifiers, whose networks do not say."""


@dataclass(frozen=True)
class LibraryWeights:
    """Weights that a library fetches by itself as it builds the network that they are for.

    Args:
        text: what the user wrote.
        network: name of the network to build.
        pretrained: the option that asks for these weights.
    """

    text: str
    network: str
    pretrained: bool | str

    @classmethod
    def parse(cls, network: str, weights: Any) -> "LibraryWeights | None":
        """Read weights as a library's own for a network of it; None if they are something else, such as a file.

        Raises:
            UsageError: if they are the library's, for another network.
        """
        library, _, name = network.partition("/")
        theirs, _, trained = weights.partition("/") if isinstance(weights, str) else ("", "", "")
        if library not in LIBRARIES or theirs != library or ":" in trained or file_kind(user_path(weights)) is not None:
            return None
        base, _, tag = trained.partition(".")
        if base != name.partition(".")[0]:
            raise UsageError(f"{weights} are weights for {theirs}/{base}, and the network is {network}: name the same in both")
        return cls(weights, weights, True) if library == "timm" else cls(weights, network, tag or True)

    def found_in(self, model: nn.Module, num_classes: int | None) -> LoadedWeights:
        """Return what a network holds that its library built with these weights; a head that is new is logged.

        Args:
            model: the network, without blocks of this package.
            num_classes: width of its head; None = the library's.
        """
        declared: Any = getattr(model, "pretrained_cfg", None) or {}
        heads = tuple(f"{head}." for head in heads_of(model))
        state = model.state_dict()
        is_new = num_classes not in (None, declared.get("num_classes", TORCHVISION_CLASSES))
        fresh = tuple(name for name in state if is_new and name.startswith(heads))
        if fresh:
            log.warning("%s: the head is new, for %s classes; all else is loaded from %s", self.network, num_classes, self.text)
        kept = {name: tensor for name, tensor in state.items() if name not in fresh}
        return LoadedWeights(self.text, fingerprint_of_tensors(kept), fresh)


def loaded_by_library(model: nn.Module, options: Mapping[str, Any]) -> LoadedWeights:
    """Return what a network began from whose option `pretrained` asked its library for weights.

    Its own blocks, which the fingerprint leaves out, begin then as the identity unless told otherwise, and what the library sets for these
    weights belongs to the network.
    """
    config: Any = model.config
    blocks = modules_of_blocks(model)
    paths = {path for path, module in model.named_modules() if module in blocks}
    kept = {name: tensor for name, tensor in model.state_dict().items() if name.rpartition(".")[0] not in paths}
    needed = {name: config.options[name] for name in ("transform_input",) if name in config.options}
    needed |= {"init": "identity"} if config.options.get("block") is not None and "init" not in options else {}
    return LoadedWeights(f"{config.name}, pretrained {options['pretrained']}", fingerprint_of_tensors(kept), options=needed)
