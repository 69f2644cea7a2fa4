"""Units whose result is the network's answer: logits, boxes, an image. A gate there would rescale the answer, not features."""

import math
from collections.abc import Collection

from torch import Tensor, fx
from torch.utils import _pytree as pytree

from senet.surgery.arguments import tensors
from senet.surgery.flow import Flow
from senet.surgery.probe import Probe
from senet.surgery.provenance import WEIGH, ValueForm

IMAGE_CHANNELS = 4
"""Channels that an image has at most."""


def is_answer(flow: Flow, kind: str, value: fx.Node) -> bool:
    """Return whether the result of a unit reaches the network's output with no layer of weights between, and is no map of features there.

    Features were normalised or rectified behind their last layer, and are not squashed. Residual and dense units make features of what
    they take over, and are answers only where they are squashed, add to the network's own image, or end a decoder.
    """
    if flow.seen is None:
        return False
    forms = _forms(flow, value, flow.seen)
    if ValueForm.BOUNDED in forms:
        return True
    if kind == "residual" and forms and _ends_decoder(flow, value, flow.seen):
        return True
    if ValueForm.BARE not in forms or kind == "dense":
        return False
    if kind == "residual":
        return _adds_to_image(flow, value, flow.seen)
    return not (kind == "decoder" and flow.sum_at(value) is not None and _is_pyramid(flow.seen))


def _forms(flow: Flow, value: fx.Node, seen: Probe) -> set[ValueForm]:
    """Return the forms in which a value reaches the network's output."""
    provenance = seen.provenance
    ends = _reached(flow, {value}, seen)
    container, module = flow.container.module, flow.module(value)
    leaves = pytree.tree_leaves(flow.output.args[0])
    given = pytree.tree_leaves(seen.outputs.get(container))
    exact = len(leaves) == len(given)
    reached = [index for index in range(len(given)) if not exact or leaves[index] in ends]
    forms = {form for index in reached for form in provenance.ending.get((container, index), ())}
    once = module is not None and seen.counts[module] == 1
    return provenance.ending.get((module, 0), set()) if forms and once and module is not None else forms


def _reached(flow: Flow, starts: Collection[fx.Node], seen: Probe) -> set[fx.Node]:
    """Return values and all that comes from them with no layer of weights between."""
    reached = set(starts)
    for node in flow.nodes:
        if node not in reached and reached & set(node.all_input_nodes) and not _weighs(flow, node, seen):
            reached.add(node)
    return reached


def _weighs(flow: Flow, node: fx.Node, seen: Probe) -> bool:
    module = flow.module(node)
    return flow.name(node) in WEIGH if module is None else module not in seen.provenance.passing


def _adds_to_image(flow: Flow, value: fx.Node, seen: Probe) -> bool:
    """Return whether a sum has the network's image in it: as a rule that of a network that restores images."""
    root = next(iter(seen.calls))
    first = next(iter(tensors(seen.calls[root].args)), None)
    if first is None or first.ndim < 3 or first.shape[1] > IMAGE_CHANNELS or flow.container.module not in seen.provenance.given_image:
        return False
    return value in _reached(flow, {node for node in flow.nodes if node.op == "placeholder"}, seen)


def _ends_decoder(flow: Flow, value: fx.Node, seen: Probe) -> bool:
    """Return whether a sum has the image's size in a network that enlarges maps, and its branch reaches the output as a layer gave it."""
    total = flow.sum_at(value)
    if total is None or not seen.upsampling or not seen.image or seen.shape(flow, value)[2:] != seen.image:
        return False
    modules = (flow.module(flow.source(side)) for side in total.maps)
    return any(module is not None and ValueForm.BARE in seen.provenance.ending.get((module, 0), ()) for module in modules)


def _is_pyramid(seen: Probe) -> bool:
    """Return whether the network returns maps of several sizes."""
    maps = [value for value in pytree.tree_leaves(seen.outputs[next(iter(seen.calls))]) if isinstance(value, Tensor) and value.ndim > 3]
    return len({math.prod(value.shape[2:]) for value in maps}) > 1
