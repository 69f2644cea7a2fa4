"""How many layers lie between a parameter and the head, for rates that decay from layer to layer."""

from torch import nn

from senet.surgery.stages import numbered_stages
from senet.training.parts import head_paths, is_within

NEARLY_ALL = 0.9
"""Share of the parameters outside of the head from which on a module is the network itself, and its children are the layers."""


def layers_to_head(model: nn.Module) -> dict[str, int]:
    """Return for every parameter of a network how many layers away the head is; 0 for the head and all that follows the last layer.

    The layers are the network's stages where it numbers them, in that order; in other networks its children, see `layer_paths`. What is
    defined before the first one, the stem, is one more layer, and what is defined between two of them belongs to the one before.
    """
    heads, paths = head_paths(model), _stage_paths(model) or layer_paths(model)
    names = [name for name, _ in model.named_parameters()]
    own = {name: place for place, path in enumerate(paths) for name in names if is_within(name, path)}
    behind = max((index for index, name in enumerate(names, 1) if name in own), default=0)
    found, place = {}, -1
    for index, name in enumerate(names):
        place = own.get(name, place)
        found[name] = 0 if index >= behind or any(is_within(name, head) for head in heads) else len(paths) - place
    return found


def layer_paths(model: nn.Module) -> list[str]:
    """Return the layers of a network that does not number its stages: the children that hold kernels or matrices, in their order.

    A child that holds `NEARLY_ALL` of the parameters outside of the head, such as `features`, is looked into instead; the head is no layer.
    """
    heads, inner, outer = head_paths(model), model, ""
    while True:
        children = [
            (f"{outer}.{name}".removeprefix("."), child)
            for name, child in inner.named_children()
            if any(parameter.ndim > 1 for parameter in child.parameters())
        ]
        children = [(path, child) for path, child in children if path not in heads]
        sizes = {path: sum(parameter.numel() for parameter in child.parameters()) for path, child in children}
        largest = max(children, key=lambda entry: sizes[entry[0]], default=None)
        if largest is None or sizes[largest[0]] < NEARLY_ALL * sum(sizes.values()) or not any(True for _ in largest[1].children()):
            return [path for path, _ in children]
        outer, inner = largest


def _stage_paths(model: nn.Module) -> list[str]:
    paths = {module: path for path, module in model.named_modules()}
    return [paths[stage] for _, stage in sorted(numbered_stages(model).items()) if stage in paths]
