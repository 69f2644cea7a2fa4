"""Feature recalibration for PyTorch: Squeeze-and-Excitation and its descendants. Names are imported on first use, torch with them."""

from importlib import import_module

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
