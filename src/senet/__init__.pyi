"""What type checkers see of the facade, whose names are imported on first use."""

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

__version__: str
__all__: list[str]
_HOME: dict[str, str]
