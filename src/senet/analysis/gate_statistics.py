"""Record what the gates of all blocks of a network do while images pass through it."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from senet.analysis.block_places import block_places
from senet.analysis.block_statistics import BlockStatistics, GateStatistics
from senet.analysis.gate_sums import Firing, GateSums
from senet.analysis.record import checked_labels, gate_paths, summary
from senet.analysis.spatial import spatial_gate_paths
from senet.blocks.channel import ChannelSE
from senet.blocks.competitive import CompetitiveSE
from senet.blocks.kinds import is_block
from senet.errors import UsageError
from senet.insertion.adopt import with_own_blocks
from senet.surgery.hooks import hooked
from senet.surgery.preserve import evaluating

HIDDEN_LAYERS = {ChannelSE: ("fc1",), CompetitiveSE: ("fc_residual", "fc_identity", "fc1")}
"""Class of a block -> its layers whose outputs, through a ReLU, are its hidden units; a block may lack some of them."""


def record_gates(model: nn.Module, batches: Iterable[Sequence[Any]]) -> GateStatistics:
    """Run images through a network in evaluation mode and summarise the gates of all its blocks, of channels and of positions.

    Blocks of other libraries that `adopt` knows are recorded too, on a copy of the network. Every image has the same weight, spread evenly
    over the positions where a gate has them; `between`, `within`, `over_positions` and `explained` weigh images of several classes by what
    they hold of each. Nothing but sums is kept. The model and its training flags are left as they were.

    Args:
        model: any network with blocks.
        batches: tuples that begin with images, (N, C, *S), and labels: (N,) classes from 0, (N, K) whole counts of what each image holds of
            every class, or None where images have no class. The images move to the model's device.

    Raises:
        UsageError: if the model has no blocks, there are no images, labels and images do not match, gates are not finite, or a block does
            not see the images one by one.
    """
    network = with_own_blocks(model)
    recorder = _Recorder(network)
    if not recorder.paths:
        raise UsageError(f"{type(model).__name__} has no gates to record; create_model('se_resnet50') has them, for one")
    device = next(network.parameters()).device
    labelled, weighted = False, False
    with evaluating(network), torch.no_grad(), hooked(recorder.paths, recorder.note_gate), hooked(recorder.owners, recorder.note_hidden):
        for pictures, classes, *_ in batches:
            labels = torch.zeros(len(pictures), dtype=torch.int64) if classes is None else checked_labels(classes, pictures)
            if not len(pictures):
                continue
            labelled, weighted = labelled or classes is not None, weighted or labels.ndim == 2
            recorder.images += len(pictures)
            recorder.labels = labels
            network(pictures.to(device))
    if not recorder.sums:
        raise UsageError("there is nothing to record: the batches hold no images, or the model runs none of its blocks")
    moments = {block: sums.by_class for block, sums in recorder.sums.items() if block in recorder.channels}
    classed = labelled and any(of_block.count.any() for of_block in moments.values())
    excitations = summary(moments, recorder.channels, network, weighted=weighted) if classed else None
    return GateStatistics(recorder.images, tuple(recorder.statistics()), excitations)


class _Recorder:
    """Sums over the gates and hidden units of a network's blocks, filled by hooks."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.channels = gate_paths(model)
        self.paths = self.channels | spatial_gate_paths(model)
        self.sums: dict[nn.Module, GateSums] = {}
        self.widths: dict[nn.Module, int] = {}
        self.images = 0
        self.labels = torch.zeros(0, dtype=torch.int64)
        self.firing: dict[nn.Module, Firing] = {}
        self.owners: dict[nn.Module, tuple[nn.Module, int]] = {}
        for block in self.paths:
            if names := hidden_layers(block):
                self.firing[block] = Firing(len(names))
                self.owners |= {block.get_submodule(name): (block, index) for index, name in enumerate(names)}

    def note_gate(self, block: Any, inputs: tuple[Any, ...], _: Tensor) -> None:
        gate = block.gate(*inputs)
        if len(gate) != len(self.labels):
            raise UsageError(
                f"the block at {self.paths[block]!r} sees {len(gate)} inputs for {len(self.labels)} images, such as regions or windows: "
                "statistics are by image; put its gates between layers that see whole images"
            )
        self.widths[block] = inputs[0].shape[1]
        self.sums.setdefault(block, GateSums(gate.shape[1])).update(gate, self.labels)

    def note_hidden(self, layer: nn.Module, _: tuple[Any, ...], output: Tensor) -> None:
        block, index = self.owners[layer]
        self.firing[block].update(index, output)

    def statistics(self) -> Iterator[BlockStatistics]:
        """Give what was summed of each block; the two kinds are numbered apart, as where they are recorded alone."""
        places = {}
        for of_channels in (True, False):
            chosen = {block: self.paths[block] for block in self.sums if (block in self.channels) == of_channels}
            widths = [self.widths[block] for block in chosen]
            places |= dict(zip(chosen, block_places(self.model, chosen, widths), strict=True))
        for block, sums in self.sums.items():
            if not sums.covariance.mean.isfinite().all():
                raise UsageError(
                    f"gates at {self.paths[block]!r} are not finite: the network's weights, or the images, hold NaN or infinities"
                )
            between, within, over_positions = (variance.mean().item() for variance in sums.variances)
            total, classes = between + within + over_positions, int(sums.by_class.count.count_nonzero())
            near_zero, near_one = sums.saturated
            yield BlockStatistics(
                **vars(places[block]),
                block=outermost_block(self.model, self.paths[block]),
                kind="channel" if block in self.channels else "position",
                mean=sums.covariance.mean,
                deviation=sums.covariance.deviation,
                between=between**0.5,
                within=within**0.5,
                over_positions=over_positions**0.5,
                explained=between / total if 1 < classes < self.images and total > 0 else None,
                near_zero=near_zero,
                near_one=near_one,
                rank=sums.covariance.effective_rank,
                firing=self.firing[block].shares if block in self.firing else None,
            )


def hidden_layers(block: nn.Module) -> list[str]:
    """Return the names of the layers of a block that give its hidden units, before their ReLU; none of a block without known ones."""
    names = next((names for kind, names in HIDDEN_LAYERS.items() if isinstance(block, kind)), ())
    return [name for name in names if isinstance(getattr(block, name, None), nn.Module)]


def outermost_block(model: nn.Module, path: str) -> str:
    """Return the path of the outermost block that holds the module at a path, or is it."""
    parts = path.split(".")
    prefixes = (".".join(parts[:end]) for end in range(1, len(parts) + 1))
    return next((prefix for prefix in prefixes if is_block(model.get_submodule(prefix))), path)
