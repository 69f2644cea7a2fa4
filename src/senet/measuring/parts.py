"""The parts of a network that figures are given for: its units and its recalibration blocks."""

from collections.abc import Collection

from torch import nn

from senet.blocks.kinds import is_block


def block_paths(model: nn.Module) -> list[str]:
    """Return the paths of a network's recalibration blocks; blocks inside blocks belong to the outer one."""
    paths: list[str] = []
    for path, module in model.named_modules():
        if is_block(module) and not any(outer == "" or path.startswith(f"{outer}.") for outer in paths):
            paths.append(path)
    return paths


def unit_paths(model: nn.Module) -> list[str]:
    """Return the paths of the parts that a reader knows a network by: the root's children, and in place of a container what it holds.

    A container is a sequence, or what the network itself lists as `containers`.
    """
    paths: list[str] = []
    containers: Collection[str] = getattr(model, "containers", ())
    if is_block(model):
        return paths

    def walk(parent: nn.Module, prefix: str) -> None:
        for name, child in parent.named_children():
            if isinstance(child, nn.Sequential | nn.ModuleList | nn.ModuleDict) or prefix + name in containers:
                walk(child, f"{prefix}{name}.")
            else:
                paths.append(prefix + name)

    walk(model, "")
    return paths


def owner(path: str, paths: Collection[str]) -> str:
    """Return the innermost of `paths` that holds the module at `path`; "" is the network itself."""
    while path and path not in paths:
        path = path.rpartition(".")[0]
    return path
