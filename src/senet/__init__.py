"""Feature recalibration for PyTorch: Squeeze-and-Excitation and its descendants.

The package is a lazy facade: a public name is imported from its home module on first use, so that `import senet` loads neither torch nor
anything else.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from senet.analysis.record import Excitations as Excitations
    from senet.analysis.record import record_excitations as record_excitations
    from senet.blocks.build import build_block as build_block
    from senet.blocks.channel import ChannelSE as ChannelSE
    from senet.blocks.channel_spatial import ChannelSpatialSE as ChannelSpatialSE
    from senet.blocks.competitive import CompetitiveSE as CompetitiveSE
    from senet.blocks.spatial import SpatialSE as SpatialSE
    from senet.comparison import compare as compare
    from senet.insertion.freeze import freeze_host as freeze_host
    from senet.insertion.gated import Gated as Gated
    from senet.insertion.insert import insert as insert
    from senet.insertion.insert import remove as remove
    from senet.insertion.keys import rename_keys as rename_keys
    from senet.insertion.plan import InsertPlan as InsertPlan
    from senet.insertion.sites import find_sites as find_sites
    from senet.models.create import create_model as create_model
    from senet.models.create import from_pretrained as from_pretrained
    from senet.models.pretrained import load_weights as load_weights
    from senet.models.registry import list_models as list_models
    from senet.profiling import Profile as Profile
    from senet.profiling import profile as profile
    from senet.recipe import Recipe as Recipe
    from senet.spec import BlockSpec as BlockSpec
    from senet.training.evaluate import evaluate as evaluate
    from senet.training.loop import train as train
    from senet.weights.store import save_weights as save_weights

__version__ = "0.1.0"

_HOME = {
    "BlockSpec": "spec",
    "ChannelSE": "blocks.channel",
    "ChannelSpatialSE": "blocks.channel_spatial",
    "CompetitiveSE": "blocks.competitive",
    "Excitations": "analysis.record",
    "Gated": "insertion.gated",
    "InsertPlan": "insertion.plan",
    "Profile": "profiling",
    "Recipe": "recipe",
    "SpatialSE": "blocks.spatial",
    "build_block": "blocks.build",
    "compare": "comparison",
    "create_model": "models.create",
    "evaluate": "training.evaluate",
    "find_sites": "insertion.sites",
    "freeze_host": "insertion.freeze",
    "from_pretrained": "models.create",
    "insert": "insertion.insert",
    "list_models": "models.registry",
    "load_weights": "models.pretrained",
    "profile": "profiling",
    "record_excitations": "analysis.record",
    "remove": "insertion.insert",
    "rename_keys": "insertion.keys",
    "save_weights": "weights.store",
    "train": "training.loop",
}

__all__ = ["__version__", *_HOME]  # pyright: ignore[reportUnsupportedDunderAll] - the names stand in _HOME, once


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'senet' has no attribute {name!r}")
    return getattr(import_module(f"senet.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
