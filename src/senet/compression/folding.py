"""Blocks whose gate is constant, folded into the layers around them: the network with the constant gates, without the blocks' cost."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn

from senet.blocks.kinds import is_block
from senet.compression.absorption import Absorption, CannotFoldError, is_not_negative
from senet.compression.constant_gates import ConstantGate, constant_gates
from senet.compression.scaled_layers import Uptake
from senet.errors import UsageError
from senet.insertion.adopt import with_own_blocks
from senet.insertion.gated import Gated
from senet.models.reduced import FoldedBlock, ReducedStep, fold_away, module_at, record_step
from senet.surgery.channel_scale import ChannelScale, PassThrough
from senet.surgery.duplicate import duplicate
from senet.surgery.layer_graph import LayerGraph, LayerGraphs
from senet.surgery.stages import numbered_stages
from senet.surgery.wrappers import unwrap


@dataclass(frozen=True)
class ConstantFold:
    """Fate of one block whose gate became constant.

    Args:
        path: where the block was.
        kind: its class.
        channels: how many channels it recalibrated.
        into: the layers that took the factors up; empty = a multiplication by constants stands in the block's place.
        kept: why that stands there; "" if it does not.
    """

    path: str
    kind: str
    channels: int
    into: tuple[str, ...] = ()
    kept: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return asdict(self) | {"into": list(self.into)}


@dataclass(frozen=True)
class FoldedNetwork:
    """Network with constant gates, and where these went.

    Args:
        model: the network.
        folds: one entry a block, in the order in which the network holds them.
    """

    model: nn.Module
    folds: tuple[ConstantFold, ...]


def fold_constant(model: nn.Module, gates: Mapping[str, Tensor | float]) -> nn.Module:
    """Return the network in which some blocks' gates are constant, without these blocks; `model` is left alone.

    A constant gate multiplies every channel by a number. The layers that make the map take these numbers up, or else those that read it:
    outputs are those of the network with frozen gates, to rounding. In training they stay so, since gamma and beta of a BN behind its
    statistics are scaled, and statistics only where they follow the factors. Where no layer can take the numbers up, a `ChannelScale`
    stays.

    Args:
        model: any network with blocks of this package, its own or inserted, or with those of other libraries that `senet.adopt` knows.
        gates: path of a block -> its gate, (C,) or one number for all channels; without the constant factor of a wrapper. Of an scSE block
            its own path, or those of both halves.

    Returns:
        A new network of the same mode. `senet.save_weights` and `senet.from_pretrained` know it if they know `model`.

    Raises:
        UsageError: if there is no block at a path, or its gate has not one finite number a channel.
    """
    return fold_gates(model, gates).model


def fold_gates(model: nn.Module, gates: Mapping[str, Tensor | float]) -> FoldedNetwork:
    """Do what `fold_constant` does, and tell where the factors went.

    Raises:
        UsageError: as `fold_constant` does.
    """
    constants = constant_gates(with_own_blocks(unwrap(model)), gates)
    folded = duplicate(unwrap(model))
    kinds = [type(module_at(folded, gate.path)).__name__ for gate in constants]
    folding = _Folding(folded, constants)
    fates = [folding.fold(gate) for gate in constants]
    blocks = tuple(FoldedBlock(gate.path, gate.channels, scale=isinstance(fate, str)) for gate, fate in zip(constants, fates, strict=True))
    for block in blocks:
        if not block.scale:
            fold_away(folded, block)
    record_step(folded, ReducedStep(blocks))
    paths = {module: path for path, module in folded.named_modules()}
    folds = []
    for block, kind, fate in zip(blocks, kinds, fates, strict=True):
        into, kept = ((), fate) if isinstance(fate, str) else (tuple(paths[layer] for layer in fate), "")
        folds.append(ConstantFold(block.path, kind, block.channels, into, kept))
    return FoldedNetwork(folded, tuple(folds))


class _Folding:
    """Folding of constant gates of one network, which has a `ChannelScale` in each block's place meanwhile."""

    def __init__(self, model: nn.Module, constants: Iterable[ConstantGate]) -> None:
        self.model = model
        for gate in constants:
            fold_away(model, FoldedBlock(gate.path, gate.channels, scale=True))
            scale: Any = module_at(model, gate.path)
            scale.scale = gate.factors.to(gate.dtype)
        self.graphs = LayerGraphs(model, closed=_is_node)
        self.owners = Counter(parameter for module in model.modules() for parameter in module._parameters.values() if parameter is not None)
        self.kept = set(numbered_stages(model).values())

    def fold(self, gate: ConstantGate) -> list[nn.Module] | str:
        """Move the factors of one block into other layers and return these, or the reason why not.

        Raises:
            UsageError: if the block has no constant factors, as they depend on the sign of a map that is not rectified.
        """
        if gate.depends_on_sign and not self._sees_no_negative(gate):
            raise UsageError(
                f"{gate.path} takes the larger of two products, which depends on the sign of its input, and that is not rectified: it has "
                "no constant gate"
            )
        reasons = []
        for graph in self.graphs.around(gate.path):
            try:
                uptakes = self._uptakes(gate, graph)
            except CannotFoldError as error:
                reasons.append(str(error))
                continue
            for uptake in uptakes:
                uptake.carry_out()
            return [uptake.layer for uptake in uptakes]
        return reasons[0]

    def _uptakes(self, gate: ConstantGate, graph: LayerGraph | str) -> list[Uptake]:
        if isinstance(graph, str):
            raise CannotFoldError(graph)
        scale = module_at(self.model, gate.path)
        node = graph.call_of(scale)
        if node is None:
            raise CannotFoldError("it is called more than once")
        absorption = Absorption(graph, self.owners, self._elsewhere(graph), self.kept)
        factors = gate.factors * self._gain(gate.path)
        reasons = []
        for search in (absorption.before, absorption.behind):
            try:
                return search(node, factors)
            except CannotFoldError as error:
                reasons.append(str(error))
        raise CannotFoldError(f"before it: {reasons[0]}; behind it: {reasons[1]}")

    def _sees_no_negative(self, gate: ConstantGate) -> bool:
        """Return whether a block is given rectified maps only."""
        graphs = (graph for graph in self.graphs.around(gate.path) if isinstance(graph, LayerGraph))
        calls = ((graph, graph.call_of(module_at(self.model, gate.path))) for graph in graphs)
        return any(node is not None and is_not_negative(graph, node.all_input_nodes[0]) for graph, node in calls)

    def _gain(self, path: str) -> float:
        """Return the constant factor that goes with a block, as its wrapper leaves for the host."""
        wrapper = self.model.get_submodule(path.rpartition(".")[0])
        return wrapper.gain if isinstance(wrapper, Gated) and wrapper is not self.model else 1.0

    def _elsewhere(self, graph: LayerGraph) -> Collection[nn.Module]:
        """Return the modules that are called by other ways than a graph's, so that these ways would see a change of their weights."""
        if not graph.container.path:
            return ()
        if (seen := self.graphs.seen) is None:
            raise CannotFoldError(f"whether {graph.container.path} alone calls its layers is not known: the network cannot be run")
        runs = seen.counts[graph.container.module]
        return {module for module, calls in graph.calls.items() if seen.counts[module] != calls * runs}


def _is_node(module: nn.Module) -> bool:
    return is_block(module) or isinstance(module, ChannelScale | PassThrough)
