"""Weights in safetensors files whose metadata says which network they fit, what its classes are called and what images it expects."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

import senet
from senet.atomic import replacing
from senet.errors import UsageError, reason_of
from senet.spec import InputSpec
from senet.surgery.wrappers import plain_state, unwrap
from senet.text import printable
from senet.weights.archive import UNPACKED, ZIP
from senet.weights.check import listed, oddity
from senet.weights.entries import find_state
from senet.weights.formats import PICKLE, check_file
from senet.weights.header import check_count, check_header
from senet.weights.metadata import WeightsMetadata, parse_metadata, write_metadata
from senet.weights.plain_pickle import read_pickle
from senet.weights.seal import check_sealed, write_sealed

log = logging.getLogger("senet")


def save_weights(
    model: nn.Module,
    path: str | Path,
    *,
    classes: Sequence[str] | None = None,
    input: InputSpec | None = None,  # noqa: A002 - the field's name in the metadata
    recipe: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write a network's weights and buffers to a safetensors file, in one step.

    Args:
        model: the network; its `config`, if it has one, goes into the metadata. What is compiled, averaged or replicated is written as the
            network inside its wrapper.
        path: file to write or replace.
        classes: names of the classes, in the order of the logits; None = those of the weights that were loaded into it, if they say.
        input: the images it expects; None = as with the classes.
        recipe: the experiment that made it, as plain data.
        extra: anything else that is plain data, such as epoch and accuracy.

    Raises:
        UsageError: if the network is sharded over processes, or has tensors that a file cannot hold, or what is said of it is not plain
            data, or could not be read back.
    """
    model = unwrap(model)
    model = getattr(model, "headless", model)  # features are taken from a network without its head
    config = find_config(model)
    loaded = metadata_of(model)
    classes, input = classes or loaded.classes, input or loaded.input  # noqa: A001
    values = {
        "model": None if config is None else config.to_dict(),
        "classes": None if classes is None else list(classes),
        "input": None if input is None else asdict(input),
        "recipe": None if recipe is None else dict(recipe),
        "senet": senet.__version__,
        "extra": dict(extra or {}),
    }
    metadata = write_metadata(str(path), values)
    tensors = {name: _on_disk(name, value) for name, value in plain_state(model).items()}
    times = Counter(tensor.data_ptr() for tensor in tensors.values())  # modules under two names share memory, which the format refuses
    tensors = {name: tensor.clone() if times[tensor.data_ptr()] > 1 else tensor for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        write_sealed(temporary, save(tensors, metadata))
    if config is not None and (computed := [name for name, module in model.named_modules() if _computes_weights(module)]):
        log.warning(
            "%s: %s computes its weights from other tensors (pruning, weight norm), which are in the file, so that only a network made to "
            "do the same loads it; for the weights themselves call torch.nn.utils.prune.remove, remove_weight_norm or "
            "parametrize.remove_parametrizations, then save again",
            path,
            listed(computed),
        )


def _computes_weights(module: nn.Module) -> bool:
    """Return whether torch's utilities keep other tensors in place of a module's weights."""
    return is_parametrized(module) or any(
        type(hook).__module__.startswith("torch.nn.utils.") for hook in module._forward_pre_hooks.values()
    )


def _on_disk(name: str, value: object) -> Tensor:
    """Return a value of a state dict as the format takes it: a plain tensor, dense, on the CPU, contiguous."""
    what = oddity(value) if isinstance(value, Tensor) else "no tensor"
    if what is not None:
        raise UsageError(f"cannot save {name}: it is {what}, which a safetensors file cannot hold")
    assert isinstance(value, Tensor)
    return value.detach().cpu().contiguous()


def read_metadata(path: str | Path) -> WeightsMetadata:
    """Return what a file says about its weights; a file of PyTorch's own format says nothing.

    Raises:
        UsageError: if the file is missing or cannot be read.
    """
    return _read(path)[1]


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, or of a state dict that `torch.save` wrote.

    Raises:
        UsageError: if the file is missing, cut short, or holds anything but tensors.
    """
    return read_file(path)[0]


def read_file(path: str | Path, entry: str | None = None) -> tuple[dict[str, Tensor], WeightsMetadata]:
    """Return the tensors of a file, and what it says about them.

    Args:
        path: the file.
        entry: which of the state dicts in a training program's file, see `senet.weights.entries.find_state`; None = it is looked for.

    Raises:
        UsageError: as `read_weights` does.
    """
    return _read(path, tensors=True, entry=entry)


def metadata_of(model: nn.Module) -> WeightsMetadata:
    """Return what the weights that were loaded into a network say about themselves."""
    metadata = getattr(unwrap(model), "weights_metadata", None)
    return metadata if isinstance(metadata, WeightsMetadata) else WeightsMetadata("")


def find_config(model: nn.Module) -> Any:
    """Return the network's ModelConfig, if it has one; other libraries keep other things under that name."""
    config = getattr(unwrap(model), "config", None)
    return config if hasattr(config, "options") else None


def _read(path: str | Path, tensors: bool = False, entry: str | None = None) -> tuple[dict[str, Tensor], WeightsMetadata]:
    path = Path(path)
    head = check_file(path)
    if head[8:9] == b"{" or not head.startswith((ZIP, PICKLE)):
        if entry is not None:
            raise UsageError(
                f"{str(path)!r} has no entries to choose from, and {entry!r} is asked for: a safetensors file is one state dict"
            )
        return _read_safetensors(path, tensors)
    tree = read_pickle(path)
    state = find_state(tree, str(path), entry) if tensors else {}
    most = path.stat().st_size + UNPACKED
    for name, tensor in state.items():
        if tensor.numel() * tensor.element_size() > most:
            raise UsageError(f"{str(path)!r} is not read: {printable(name)} is larger than the file, not a plain tensor")
    return state, WeightsMetadata(str(path))


def _read_safetensors(path: Path, tensors: bool) -> tuple[dict[str, Tensor], WeightsMetadata]:
    check_header(path)
    try:
        with safe_open(path, framework="pt") as file:
            names, strings = list(file.keys()), file.metadata() or {}
            check_count(path, len(names))
            loaded = {name: file.get_tensor(name) for name in names} if tensors else {}
    except UsageError:
        raise
    except Exception as error:  # whatever a damaged file leads to
        reason = printable(reason_of(error))
        raise UsageError(
            f"cannot read weights from {str(path)!r}: not a safetensors file, or cut short ({reason}); fetch it again"
        ) from error
    metadata = parse_metadata(str(path), strings)
    if tensors:
        check_sealed(path)
    return loaded, metadata
