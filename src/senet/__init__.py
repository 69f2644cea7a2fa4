"""Feature recalibration for PyTorch: Squeeze-and-Excitation and its descendants. Names are imported on first use, torch with them."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from senet.analysis.frozen import block_effects as block_effects, frozen_gates as frozen_gates
    from senet.analysis.gate_statistics import record_gates as record_gates
    from senet.analysis.record import Excitations as Excitations, record_excitations as record_excitations
    from senet.analysis.spatial import SpatialGates as SpatialGates, record_spatial_gates as record_spatial_gates
    from senet.blocks.build import build_block as build_block
    from senet.blocks.channel import ChannelSE as ChannelSE
    from senet.blocks.channel_spatial import ChannelSpatialSE as ChannelSpatialSE
    from senet.blocks.competitive import CompetitiveSE as CompetitiveSE
    from senet.blocks.kinds import register_block as register_block
    from senet.blocks.spatial import SpatialSE as SpatialSE
    from senet.comparison import compare as compare
    from senet.compression.compress import compress as compress
    from senet.compression.folding import fold_constant as fold_constant
    from senet.compression.pruning.prune import prune as prune
    from senet.compression.pruning.target import Target as Target
    from senet.deploy.export import export_onnx as export_onnx
    from senet.deploy.optimize import optimize as optimize
    from senet.insertion.adopt import adopt as adopt
    from senet.insertion.freeze import freeze_host as freeze_host
    from senet.insertion.gated import Gated as Gated
    from senet.insertion.insert import insert as insert
    from senet.insertion.keys import rename_keys as rename_keys
    from senet.insertion.plan import InsertPlan as InsertPlan
    from senet.insertion.remove import remove as remove
    from senet.insertion.sites import find_sites as find_sites
    from senet.models.create import create_model as create_model, from_pretrained as from_pretrained
    from senet.models.registry import list_models as list_models
    from senet.models.smp_encoders import register_smp_encoders as register_smp_encoders
    from senet.ops.backend import backend as backend
    from senet.profiling import Profile as Profile, profile as profile
    from senet.publishing.push import push_to_hub as push_to_hub
    from senet.recipe import Recipe as Recipe
    from senet.spec import BlockSpec as BlockSpec
    from senet.training.evaluate import evaluate as evaluate
    from senet.training.loop import train as train
    from senet.userfile import allow_code as allow_code
    from senet.weights.load import load_weights as load_weights
    from senet.weights.store import save_weights as save_weights

__version__ = "0.1.0"

_NAMES = {
    "analysis.frozen": "block_effects frozen_gates",
    "analysis.gate_statistics": "record_gates",
    "analysis.record": "Excitations record_excitations",
    "analysis.spatial": "SpatialGates record_spatial_gates",
    "blocks.build": "build_block",
    "blocks.channel": "ChannelSE",
    "blocks.channel_spatial": "ChannelSpatialSE",
    "blocks.competitive": "CompetitiveSE",
    "blocks.kinds": "register_block",
    "blocks.spatial": "SpatialSE",
    "comparison": "compare",
    "compression.compress": "compress",
    "compression.folding": "fold_constant",
    "compression.pruning.prune": "prune",
    "compression.pruning.target": "Target",
    "deploy.export": "export_onnx",
    "deploy.optimize": "optimize",
    "insertion.adopt": "adopt",
    "insertion.freeze": "freeze_host",
    "insertion.gated": "Gated",
    "insertion.insert": "insert",
    "insertion.remove": "remove",
    "insertion.keys": "rename_keys",
    "insertion.plan": "InsertPlan",
    "insertion.sites": "find_sites",
    "models.create": "create_model from_pretrained",
    "models.registry": "list_models",
    "models.smp_encoders": "register_smp_encoders",
    "ops.backend": "backend",
    "profiling": "Profile profile",
    "publishing.push": "push_to_hub",
    "recipe": "Recipe",
    "spec": "BlockSpec",
    "training.evaluate": "evaluate",
    "training.loop": "train",
    "userfile": "allow_code",
    "weights.load": "load_weights",
    "weights.store": "save_weights",
}
_HOME = {name: home for home, names in _NAMES.items() for name in names.split()}

__all__ = ["__version__", *_HOME]  # pyright: ignore[reportUnsupportedDunderAll] - the names stand in _HOME, once


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'senet' has no attribute {name!r}")
    return getattr(import_module(f"senet.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
