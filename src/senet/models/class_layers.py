"""Layers as wide as there are classes, in networks that have several, or none that is linear: detectors, segmentation."""

from torch import nn


def renew_class_layers(model: nn.Module, fresh: nn.Module) -> None:
    """Put the layers of another network in the place of those that have another size there, and the numbers of classes beside them.

    Args:
        model: a trained network.
        fresh: the same network for other classes, whose layers are taken.
    """
    shapes = {name: tensor.shape for name, tensor in fresh.state_dict().items()}
    layers = {name.rpartition(".")[0] for name, tensor in model.state_dict().items() if shapes.get(name, tensor.shape) != tensor.shape}
    for path in sorted(layers):
        model.set_submodule(path, fresh.get_submodule(path))
    holders = {path.rsplit(".", depth)[0] for path in layers for depth in range(1, path.count(".") + 1)}
    for path in sorted(holders):  # torchvision's heads keep the number to split their channels by
        module, other = model.get_submodule(path), fresh.get_submodule(path)
        for name, value in vars(other).items():
            if type(value) is int and getattr(module, name) != value:
                setattr(module, name, value)
